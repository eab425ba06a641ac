window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({ url: "/v1/openapi.json", dom_id: "#swagger", validatorUrl: null, deepLinking: true });
});
