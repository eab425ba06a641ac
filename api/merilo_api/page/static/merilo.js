// Draws the charts from the numbers in the page, and reads the page again every 15 s while somebody looks at it.
"use strict";
(() => {
  const REFRESH_MS = 15000;
  const COLOURS = { metered: "#0072B2", bridged: "#56B4E9", estimated: "#E69F00", missing: "#D55E00" };
  const charts = {};
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  const numbers = (doc) => JSON.parse((doc.getElementById("data") || { textContent: "{}" }).textContent || "{}");
  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function chart(id) {
    const place = document.getElementById(id);
    if (!place || !window.echarts) return null;
    place.classList.add("drawn");
    place.style.display = "block";
    if (!charts[id]) charts[id] = echarts.init(place, null, { renderer: "svg" });
    return charts[id];
  }

  function base(language) {
    return {
      animation: !still.matches,
      aria: { enabled: true, decal: { show: true } },
      textStyle: { fontFamily: "inherit", color: ink("--ink") },
      grid: { left: 8, right: 12, top: 36, bottom: 8, containLabel: true },
      legend: { top: 0, textStyle: { color: ink("--ink") } },
      tooltip: { trigger: "axis", backgroundColor: ink("--paper"), borderColor: ink("--line"), textStyle: { color: ink("--ink") } },
    };
  }

  const axis = () => ({ axisLabel: { color: ink("--soft") }, axisLine: { lineStyle: { color: ink("--line") } }, splitLine: { lineStyle: { color: ink("--line") } } });

  function drawLive(data) {
    const target = chart("chart-live");
    if (!target) return;
    const clock = new Intl.DateTimeFormat(data.lang, { hour: "2-digit", minute: "2-digit", timeZone: data.tz });
    target.setOption({
      ...base(data.lang),
      aria: { enabled: true },
      xAxis: { type: "time", ...axis(), axisLabel: { color: ink("--soft"), formatter: (at) => clock.format(at) }, splitLine: { show: false } },
      yAxis: { type: "value", min: 0, name: "W", nameTextStyle: { color: ink("--soft") }, ...axis() },
      tooltip: {
        ...base(data.lang).tooltip,
        formatter: (rows) => clock.format(rows[0].value[0]) + rows.map((r) => `<br>${r.marker} ${echarts.format.encodeHTML(r.seriesName)}: ${r.value[1] === null ? "–" : Math.round(r.value[1]).toLocaleString(data.lang)} W`).join(""),
      },
      series: data.live.map((one, index) => ({
        name: one.name, type: "line", showSymbol: false, connectNulls: false, lineStyle: { width: 2 },
        color: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"][index % 6],
        areaStyle: data.live.length === 1 ? { opacity: 0.12 } : undefined,
        data: broken(one.points),
      })),
    }, true);
  }

  // A stretch without a minute is a gap in the line, never a bridge.
  function broken(points) {
    const found = [];
    for (let i = 0; i < points.length; i += 1) {
      if (i && points[i][0] - points[i - 1][0] > 300000) found.push([points[i - 1][0] + 60000, null]);
      found.push(points[i]);
    }
    return found;
  }

  function drawDays(data) {
    const target = chart("chart-days");
    if (!target) return;
    const bar = (key) => ({ name: data.words[key], type: "bar", stack: "energy", data: data.days[key], color: COLOURS[key], barCategoryGap: "25%" });
    target.setOption({
      ...base(data.lang),
      xAxis: { type: "category", data: data.days.labels, ...axis(), splitLine: { show: false } },
      yAxis: [
        { type: "value", name: "kWh", min: 0, nameTextStyle: { color: ink("--soft") }, ...axis() },
        { type: "value", min: 0, max: 1, show: false },
      ],
      series: [
        bar("metered"), bar("bridged"), bar("estimated"),
        { name: data.words.missing, type: "scatter", yAxisIndex: 1, symbol: "rect", color: COLOURS.missing,
          symbolSize: (value) => (value ? [12, 6] : 0),
          data: data.days.missing.map((share) => (share > 0.0005 ? 0.985 : null)),
          tooltip: { valueFormatter: () => "" } },
      ],
    }, true);
  }

  function draw(doc) {
    const data = numbers(doc || document);
    if (!data.days) return;
    drawLive(data);
    drawDays(data);
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch(window.location.href, { credentials: "same-origin" });
      if (!answer.ok) return;
      const doc = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const id of ["live-part", "meters", "days", "devices"]) {
        const [now, next] = [document.getElementById(id), doc.getElementById(id)];
        if (now && next && now.innerHTML !== next.innerHTML) now.replaceChildren(...next.childNodes);
      }
      draw(doc);
    } catch (error) {
      console.debug("page not read again", error);
    }
  }

  window.addEventListener("DOMContentLoaded", () => {
    draw();
    window.setInterval(refresh, REFRESH_MS);
    window.addEventListener("resize", () => Object.values(charts).forEach((one) => one.resize()));
    dark.addEventListener("change", () => draw());
  });
})();
