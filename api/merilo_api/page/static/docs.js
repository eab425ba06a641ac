"use strict";
window.addEventListener("DOMContentLoaded", () => {
  window.SwaggerUIBundle({ url: "/v1/openapi.json", dom_id: "#swagger", validatorUrl: null, deepLinking: true });
});
