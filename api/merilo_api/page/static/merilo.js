// Draws the charts from the numbers in the page, and reads the page again every 15 s while somebody looks at it.
"use strict";
(() => {
  const REFRESH_MS = 15000;
  const MINUTE_MS = 60000;
  const QUARTER_MS = 900000;
  const STATES = ["missing", "estimated", "bridged", "metered"];
  const NOT_YET = -2; // before the meter was there
  const LINES = ["--line-1", "--line-2", "--line-3", "--line-4"];
  const PARTS = ["now-part", "meters-part", "quality-part", "live-say", "live-table", "days-say", "days"];
  const charts = {};
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");

  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const font = () => getComputedStyle(document.body).fontFamily;
  const numbers = (doc) => JSON.parse((doc.getElementById("data") || { textContent: "{}" }).textContent || "{}");
  const narrow = (place) => place.clientWidth < 560;

  // Patterns tell the states apart without colour; lines are in the paper's colour over the fill.
  function decal(state) {
    const base = { color: ink(`--${state}-mark`) };
    return {
      metered: { symbol: "none" },
      bridged: { ...base, symbol: "circle", symbolSize: 0.55, dashArrayX: [[0, 6], [3, 3]], dashArrayY: [4, 2] },
      estimated: { ...base, symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: -Math.PI / 4 },
      missing: { ...base, symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 3], rotation: Math.PI / 4 },
    }[state];
  }

  function chart(id) {
    const place = document.getElementById(id);
    if (!place || !window.echarts) return null;
    place.classList.add("drawn");
    if (!charts[id]) charts[id] = echarts.init(place, null, { renderer: "canvas" });
    charts[id].resize();
    return charts[id];
  }

  const label = () => ({ color: ink("--soft"), fontFamily: font(), fontSize: 12 });
  const axis = (more) => ({
    axisLabel: label(), axisTick: { show: false }, axisLine: { lineStyle: { color: ink("--line") } },
    splitLine: { lineStyle: { color: ink("--line") } }, nameTextStyle: { ...label(), align: "left" }, ...more,
  });
  // Tooltips are drawn, not built of HTML: no inline style, so the page's policy can stay strict.
  const tooltip = (more) => ({
    renderMode: "richText", confine: true, backgroundColor: ink("--paper"), borderColor: ink("--edge"), borderWidth: 1,
    textStyle: { color: ink("--ink"), fontFamily: font(), fontSize: 13, lineHeight: 20 }, ...more,
  });
  const legend = () => ({
    top: 0, left: 0, itemWidth: 18, itemHeight: 12, itemGap: 14,
    textStyle: { color: ink("--ink"), fontFamily: font(), fontSize: 13 },
  });
  const base = () => ({
    animation: !still.matches, animationDuration: 250, aria: { enabled: true, label: { enabled: false }, decal: { show: false } },
    textStyle: { fontFamily: font() },
  });

  function drawLive(data) {
    const target = chart("chart-live");
    if (!target) return;
    const clock = new Intl.DateTimeFormat(data.lang === "bg" ? "bg" : "en-GB", { hour: "2-digit", minute: "2-digit", timeZone: data.tz });
    const hour = (at) => clock.format(at).replace(/[^\d:]/g, "");
    const { start, series } = data.live;
    const peak = Math.max(0, ...series.flatMap((one) => [...one.power, ...one.quarters.power].filter((p) => p !== null)));
    const [unit, scale, digits] = peak >= 2000 ? ["kW", 1000, 2] : ["W", 1, 0];
    const format = new Intl.NumberFormat(data.lang, { minimumFractionDigits: digits, maximumFractionDigits: digits });
    const { words } = data;
    const shown = (value) => (value === null || value === undefined ? "–" : `${format.format(value)} ${unit}`);
    const line = (one, index) => ({
      name: one.name, type: "line", showSymbol: false, connectNulls: false, sampling: "lttb", z: 3,
      lineStyle: { width: 1.75, type: index ? [6, 3] : "solid" }, color: ink(LINES[index % LINES.length]), data: minutes(one.power, start, scale),
    });
    // The mean of each booked quarter of an hour stands behind the line, as a step.
    const booked = (one, index) => ({
      name: `${one.name} booked`, type: "line", step: "end", showSymbol: false, connectNulls: false, silent: true,
      lineStyle: { width: 0 }, areaStyle: { opacity: series.length > 1 ? 0.1 : 0.18 }, color: ink(LINES[index % LINES.length]), data: steps(one.quarters, scale),
    });
    const step = narrow(document.getElementById("chart-live")) ? 6 : 3;
    target.setOption({
      ...base(),
      grid: { left: 4, right: 14, top: series.length > 1 ? 48 : 28, bottom: 2, containLabel: true },
      legend: { ...legend(), show: series.length > 1, data: series.map((one) => one.name) },
      xAxis: axis({
        type: "value", min: start, max: start + 1440 * MINUTE_MS, splitLine: { show: false },
        axisLabel: { ...label(), formatter: hour, customValues: wholeHours(start, step, hour), hideOverlap: true },
      }),
      yAxis: axis({ type: "value", min: 0, name: unit }),
      tooltip: tooltip({
        trigger: "axis",
        formatter: (rows) => {
          const at = Number(rows[0].axisValue);
          const lines = series.map((one) => {
            const minute = one.power[Math.floor((at - start) / MINUTE_MS)];
            const quarter = one.quarters.power[one.quarters.start.indexOf(Math.floor(at / QUARTER_MS) * QUARTER_MS)];
            const scaled = (p) => (p === null || p === undefined ? null : p / scale);
            return [...(series.length > 1 ? [one.name] : []), `${words.minute}: ${shown(scaled(minute))}`, `${words.quarter}: ${shown(scaled(quarter))}`].join("\n");
          });
          return [hour(at), ...lines].join("\n");
        },
      }),
      series: [...series.map(line), ...series.map(booked)],
    }, true);
  }

  // Minutes that are there; a stretch of more than ten minutes without any is a gap, never a bridge.
  function minutes(power, start, scale) {
    const found = [];
    let last = -1;
    power.forEach((p, i) => {
      if (p === null) return;
      if (last >= 0 && i - last > 10) found.push([start + (last + 1) * MINUTE_MS, null]);
      found.push([start + i * MINUTE_MS, p / scale]);
      last = i;
    });
    return found;
  }

  // Each quarter of an hour holds its value to its end.
  function steps(quarters, scale) {
    const found = [];
    quarters.start.forEach((at, i) => {
      const p = quarters.power[i];
      if (p === null) {
        found.push([at, null]);
        return;
      }
      found.push([at, p / scale]);
      const follows = quarters.start[i + 1] === at + QUARTER_MS && quarters.power[i + 1] !== null;
      if (!follows) found.push([at + QUARTER_MS, p / scale], [at + QUARTER_MS, null]);
    });
    return found;
  }

  // Marks at the clock's own hours, wherever the window begins.
  function wholeHours(start, step, hour) {
    const values = [];
    for (let at = Math.ceil(start / 3600000) * 3600000; at <= start + 1440 * MINUTE_MS; at += 3600000) {
      if (parseInt(hour(at), 10) % step === 0) values.push(at);
    }
    return values;
  }

  function drawDays(data) {
    const target = chart("chart-days");
    if (!target) return;
    const { days, words } = data;
    const some = days.missing.some((hours) => hours > 0);
    const format = new Intl.NumberFormat(data.lang, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
    const look = (state) => ({
      color: ink(`--${state}`), decal: decal(state), borderColor: ink(`--${state}-edge`), borderWidth: state === "metered" ? 0 : 1,
    });
    const bar = (state) => ({
      name: words[state], type: "bar", stack: "energy", data: days[state].map((v) => v || null), itemStyle: look(state), barCategoryGap: "22%",
    });
    const categories = (more) => axis({ type: "category", data: days.labels, splitLine: { show: false }, ...more });
    target.setOption({
      ...base(),
      grid: [
        { left: 4, right: 8, top: 28, bottom: some ? 74 : 4, containLabel: true },
        { left: 4, right: 8, height: some ? 34 : 0, bottom: 4, containLabel: true },
      ],
      xAxis: [
        categories({ gridIndex: 0, axisLabel: { ...label(), hideOverlap: true, show: true } }),
        categories({ gridIndex: 1, axisLabel: { show: false } }),
      ],
      yAxis: [
        axis({ type: "value", min: 0, name: words["per day"], gridIndex: 0 }),
        axis({ type: "value", min: 0, max: 24, interval: 24, gridIndex: 1, show: some, name: `${words.missing}, ${words.hours}`, nameGap: 8, splitLine: { show: false }, axisLabel: { ...label(), formatter: (v) => (v ? `${v}` : "") } }),
      ],
      tooltip: tooltip({
        trigger: "axis", axisPointer: { type: "shadow", label: { show: false } },
        formatter: (rows) => {
          const i = rows[0].dataIndex;
          const lines = ["metered", "bridged", "estimated"].filter((state) => days[state][i] > 0).map((state) => `${words[state]}: ${format.format(days[state][i])} kWh`);
          if (days.notyet[i]) lines.push(words.notyet);
          if (days.missing[i] > 0) lines.push(`${words.missing}: ${format.format(days.missing[i])} ${words.hours}`);
          return [days.titles[i], ...lines].join("\n");
        },
      }),
      series: [
        bar("metered"), bar("bridged"), bar("estimated"),
        { name: words.missing, type: "bar", xAxisIndex: 1, yAxisIndex: 1, data: days.missing.map((v) => v || null), itemStyle: look("missing"), barCategoryGap: "22%", barMinHeight: 3 },
      ],
    }, true);
  }

  function drawStrip(data) {
    const target = chart("chart-strip");
    if (!target || !data.strip.length) return;
    const { days, words } = data;
    const box = document.getElementById("chart-strip");
    const cells = [];
    const notYet = [];
    const marks = { missing: [], estimated: [], bridged: [] };
    data.strip.forEach((row, y) => row.forEach((code, x) => {
      if (code === NOT_YET) notYet.push([x, y, code]);
      if (code < 0) return;
      cells.push([x, y, code]);
      // One mark for each hour, so that it can also be seen on a telephone.
      if (code < 3 && (x % 4 === 0 || row[x - 1] !== code)) marks[STATES[code]].push([x % 4 === 0 && row[x + 1] === code ? x + 0.5 : x, y]);
    }));
    const time = (x) => `${String(Math.floor(x / 4)).padStart(2, "0")}:${String((x % 4) * 15).padStart(2, "0")}`;
    const shapes = { missing: "path://M0 0L10 10M10 0L0 10", estimated: "path://M0 10L10 0", bridged: "circle" };
    const sizes = { missing: 6, estimated: 6, bridged: 3 };
    const mark = (state) => ({
      type: "scatter", silent: true, symbol: shapes[state], symbolSize: sizes[state], data: marks[state], z: 3,
      itemStyle: { color: ink(`--${state}-mark`), borderColor: ink(`--${state}-mark`), borderWidth: 1.25 },
    });
    target.setOption({
      ...base(), animation: false,
      grid: { left: 4, right: 8, top: 4, bottom: 2, containLabel: true },
      xAxis: axis({ type: "category", data: Array.from({ length: 96 }, (_, x) => time(x)), splitLine: { show: false },
        axisLabel: { ...label(), interval: (i) => i % (narrow(box) ? 24 : 12) === 0, showMaxLabel: false } }),
      yAxis: axis({ type: "category", inverse: true, data: days.labels, splitLine: { show: false }, axisLabel: { ...label(), interval: 2 } }),
      visualMap: { show: false, type: "piecewise", dimension: 2, seriesIndex: 0, pieces: STATES.map((state, code) => ({ value: code, color: ink(state === "metered" ? "--metered-pale" : `--${state}`) })) },
      tooltip: tooltip({ formatter: (cell) => `${days.titles[cell.value[1]]}, ${time(cell.value[0])}\n${words[STATES[cell.value[2]] || "notyet"]}` }),
      series: [
        { type: "heatmap", data: cells, progressive: 0, itemStyle: { borderColor: ink("--paper"), borderWidth: narrow(box) ? 0 : 0.5 }, emphasis: { itemStyle: { borderColor: ink("--ink"), borderWidth: 1 } } },
        { type: "custom", data: notYet, clip: true, renderItem: (_, api) => {
          const [width, height] = api.size([1, 1]);
          const [x, y] = api.coord([api.value(0), api.value(1)]);
          return { type: "rect", shape: { x: x - width / 2, y: y - height / 2, width, height: height - 0.5 }, style: { fill: ink("--line") } };
        } },
        mark("bridged"), mark("estimated"), mark("missing"),
      ],
    }, true);
  }

  function draw(doc) {
    const data = numbers(doc || document);
    if (!data.days) return;
    drawLive(data);
    drawDays(data);
    drawStrip(data);
    document.documentElement.dataset.drawn = "yes";
  }

  function stale(is) {
    const place = document.getElementById("stale");
    if (!place) return;
    place.textContent = is ? place.dataset.text : "";
    place.hidden = !is;
  }

  async function refresh() {
    if (document.hidden) return;
    try {
      const answer = await fetch(window.location.href, { credentials: "same-origin" });
      const doc = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!answer.ok && !doc.getElementById("now-part")) return stale(true);
      stale(false);
      for (const id of PARTS) {
        const [now, next] = [document.getElementById(id), doc.getElementById(id)];
        if (now && next && now.innerHTML !== next.innerHTML && !now.contains(document.activeElement)) now.replaceChildren(...next.childNodes);
      }
      const stamp = doc.getElementById("stale");
      if (stamp) document.getElementById("stale").dataset.text = stamp.dataset.text;
      draw(doc);
    } catch (error) {
      stale(true);
    }
  }

  window.addEventListener("DOMContentLoaded", () => {
    draw();
    window.setInterval(refresh, REFRESH_MS);
    let waiting = 0;
    window.addEventListener("resize", () => { window.clearTimeout(waiting); waiting = window.setTimeout(draw, 150); });
    dark.addEventListener("change", () => draw());
  });
})();
