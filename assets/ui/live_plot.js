// Draws the charts of the run named by props.value; runs once when the component appears.
// Asks server.more for new envelope buckets, keeps them in `series`, and hands them to Plotly, which is loaded on first use.
// `charts`, `words` and `script_address` (where its script is), plot_parts.js and layer_map.js stand in front of this
// script.

const COLOURS = { light: ["#0072B2", "#D55E00", "#009E73"], dark: ["#56B4E9", "#E69F00", "#009E73"] }; // of Okabe and Ito: told apart by everybody
const MARKED = 60; // points up to which each is marked, and nothing is smoothed
const DASHES = ["solid", "dash", "dot"]; // … and without colour
const root = element.querySelector(".live-plot");
const colours = () => coloursOf(root);
let run = null;
let epoch = 0;
let series = {}; // metric → {n, d, buckets: [[x, y, …]], last}
let units = {}; // chart key → unit, where the run's task says it
let outline = { id: 0 }; // {id, schedule, memory}: what was planned before the first step
let keepsBest = false;
let cards = {}; // chart key → {chart, box, plot, table, changed, near: whether it is in sight, undefined before the first look}
const VIEWS = "delta-plots"; // in the browser's storage, so that a reload keeps them
const ZOOMS = 40; // most that are kept, the newest ones
const kept = (() => { try { return JSON.parse(localStorage.getItem(VIEWS)) || {}; } catch { return {}; } })();
const views = kept.views || {}; // chart key → {log, smooth}: what the person chose; undefined where they did not
const zooms = kept.zooms || {}; // "run chart" → {x: [from, to], y: [from, to]} of the axes that are not automatic
let wait = 1000;
const SLOWEST = 5000; // ms between questions when nothing changes
let timer = null;

const unitOf = (chart) => units[chart.key] ?? chart.unit;
const heading = (chart) => `${chart.title}${unitOf(chart) ? ` (${unitOf(chart)})` : ""}`;
const zoomName = (chart) => `${run} ${chart.key}`;
function keepViews() {
  for (const key of Object.keys(zooms).slice(0, -ZOOMS)) delete zooms[key];
  try { localStorage.setItem(VIEWS, JSON.stringify({ views, zooms })); } catch { /* private window: for this visit only */ }
}
const visible = () => !document.hidden && root.offsetParent !== null;

// ---- what the server sends ------------------------------------------------------------------------------------------

function absolute(flat) {
  let x = 0;
  return flat.map((bucket) => bucket.map((value, place) => (place % 2 ? value : (x += value))));
}

// Two neighbouring buckets as one: the lower of the two lows, the higher of the two highs, as the server merges them.
function merged(a, b) {
  const points = [];
  for (const bucket of [a, b || []]) for (let i = 0; i < bucket.length; i += 2) points.push([bucket[i], bucket[i + 1]]);
  if (points.length < 2) return points.flat();
  const low = points.reduce((best, point) => (point[1] < best[1] ? point : best));
  const high = points.reduce((best, point) => (point[1] > best[1] ? point : best));
  if (low === high) return low;
  return points.indexOf(low) < points.indexOf(high) ? [...low, ...high] : [...high, ...low];
}

function take(name, change) {
  const known = series[name] || { n: 0, d: 0, buckets: [] };
  for (; known.d < change.d; known.d++) {
    const halves = [];
    for (let i = 0; i < known.buckets.length; i += 2) halves.push(merged(known.buckets[i], known.buckets[i + 1]));
    known.buckets = halves;
  }
  known.buckets.length = Math.min(known.buckets.length, change.f);
  for (const bucket of absolute(change.b)) known.buckets.push(bucket);
  known.n = change.n;
  known.last = change.l;
  series[name] = known;
}

function points(name, scale) {
  const x = [];
  const y = [];
  for (const bucket of series[name]?.buckets || [])
    for (let i = 0; i < bucket.length; i += 2) {
      x.push(bucket[i]);
      y.push(bucket[i + 1] * scale);
    }
  const last = series[name]?.last || [];
  if (last.length && !(x.at(-1) === last[0] && y.at(-1) === last[1] * scale)) {
    x.push(last[0]);
    y.push(last[1] * scale);
  }
  return { x, y };
}

// ---- asking ---------------------------------------------------------------------------------------------------------

async function ask() {
  timer = null;
  if (!element.isConnected) return;
  let soon = false;
  if (visible() && run) {
    const have = {};
    for (const [name, known] of Object.entries(series)) have[name] = known.n;
    const asked = run;
    try {
      const answer = await server.more({ run, epoch, have, outline: outline.id });
      note("");
      if (asked === run) soon = accept(answer);
      if (!soon && asked === run && (wait < SLOWEST || !layersAsked)) await askLayers();
    } catch (error) {
      note(words.waiting);
      wait = 3000;
    }
  }
  clearTimeout(timer);
  timer = setTimeout(ask, soon ? 50 : wait);
}

async function askLayers() {
  if (Date.now() - layersAsked < LAYERS_EVERY) return;
  layersAsked = Date.now();
  const asked = run;
  const answer = await server.layers(layerRequest(run));
  if (asked !== run || !takeLayers(answer)) return;
  for (const card of Object.values(cards)) card.changed ||= Boolean(card.chart.layers);
  draw();
}

function accept(answer) {
  units = answer.units ?? units;
  keepsBest = answer.best ?? keepsBest;
  if (answer.epoch !== epoch) {
    epoch = answer.epoch;
    series = {};
  }
  const names = Object.keys(answer.series);
  for (const name of names) take(name, answer.series[name]);
  wait = names.length ? 1000 : Math.min(wait * 1.4, SLOWEST);
  if (answer.outline) outline = answer.outline;
  for (const { chart } of Object.values(cards))
    cards[chart.key].changed ||= chart.layers ? false : Boolean(answer.outline) || chart.series.some((item) => names.includes(item.key));
  draw();
  if (answer.more) note(words.loading); // what is drawn is a preview
  return answer.more;
}

function show(next) {
  if (next === run) return;
  run = next;
  epoch = 0;
  series = {};
  outline = { id: 0 };
  forgetLayers();
  wait = 1000;
  inSight.disconnect();
  for (const card of Object.values(cards)) card.box.remove();
  cards = {};
  delete root.dataset.drawn;
  draw();
  wake();
}

function wake() {
  wait = 1000;
  clearTimeout(timer);
  timer = setTimeout(ask, 0);
}

// ---- drawing --------------------------------------------------------------------------------------------------------

function note(text) {
  const status = root.querySelector(".lp-status");
  if (status.textContent !== text) status.textContent = text;
}

// Curves whose largest value is more than 30 times the smallest are unreadable on a linear axis.
function logByItself(chart) {
  const values = (chart.series || []).flatMap((item) => points(item.key, chart.scale).y);
  const low = Math.min(...values), high = Math.max(...values);
  return low > 0 && high / low > 30;
}
const isLog = (chart) => chart.log && (views[chart.key]?.log ?? logByItself(chart));
const isSmooth = (chart) => chart.smooth && (views[chart.key]?.smooth ?? true);

function traces(chart) {
  if (chart.layers) return layerTraces(chart);
  const palette = COLOURS[document.body.classList.contains("dark") ? "dark" : "light"];
  const found = chart.series.filter((item) => !item.mark).map((item, place) => ({
    ...points(item.key, chart.scale),
    name: item.name, type: "scatter", uid: item.key,
    mode: (series[item.key]?.n || 0) <= MARKED ? "lines+markers" : "lines", marker: { size: 5 },
    line: { color: palette[place % 3], width: 1.8, dash: DASHES[place % 3] },
    hovertemplate: `%{y:.5~g} ${unitOf(chart)}<extra>${chart.series.length > 1 ? item.name : ""}</extra>`,
  })).filter((trace) => trace.x.length);
  // The measured points stay, pale; the hover names them and not the average.
  for (const trace of isSmooth(chart) ? found.filter((trace) => trace.x.length > MARKED) : []) {
    found.push({ ...trace, y: smoothed(trace.y), uid: `${trace.uid}-smooth`, hoverinfo: "skip", hovertemplate: undefined, showlegend: false });
    trace.opacity = 0.35;
  }
  return [...found, ...additions(chart, palette)];
}

// What is no curve of its own: marks at single steps, the best checkpoint, what was planned.
function additions(chart, palette) {
  const strong = coloursOf(root).strong;
  const format = `%{y:.5~g} ${unitOf(chart)}`;
  const added = chart.series.filter((item) => item.mark && series[item.key]?.last?.length).map((item) => ({
    ...points(item.key, chart.scale), uid: item.key, name: item.name, type: "scatter", mode: "markers",
    marker: { symbol: item.mark, size: chart.key === "loss" ? 11 : 8, color: strong, opacity: 0.75, line: { color: coloursOf(root).paper, width: 1 } }, hovertemplate: `${format}<extra>${item.name}</extra>`,
  }));
  const line = (uid, name, x, y) => added.push({ x, y, uid, name, type: "scatter", mode: "lines", line: { color: strong, width: 1.4, dash: "dot" }, hovertemplate: `${format}<extra>${name}</extra>` });
  if (chart.key === "loss" && series.eval_loss?.last?.length) {
    const { x, y } = points("eval_loss", chart.scale);
    const at = y.indexOf(Math.min(...y));
    const name = keepsBest ? words.best : words.lowest;
    added.push({ x: [x[at]], y: [y[at]], uid: "best", name, type: "scatter", mode: "markers", marker: { symbol: "star", size: 13, color: palette[2], line: { color: strong, width: 1 } }, hovertemplate: `${format}<extra>${name}</extra>` });
  }
  if (chart.key === "learning_rate") {
    const now = series.learning_rate?.last?.[0] ?? 0;
    const ahead = (outline.schedule || []).filter(([step]) => step >= now);
    if (ahead.length > 1) line("ahead", words.ahead, ahead.map(([step]) => step), ahead.map(([, rate]) => rate));
  }
  if (chart.key === "memory" && outline.memory) {
    const steps = chart.series.flatMap((item) => points(item.key, 1).x);
    const value = outline.memory * chart.scale;
    line("forecast", words.forecast, [Math.min(...steps), Math.max(...steps)], [value, value]);
  }
  return added;
}

function layout(chart, look, drawn) {
  const axis = { gridcolor: look.line, zerolinecolor: look.line, linecolor: look.line, automargin: true, ticks: "" };
  const whole = {
    uirevision: `${run}`, height: drawn.length > 5 ? 320 : 250, margin: { l: 52, r: 12, t: 8, b: 38 }, paper_bgcolor: look.paper, plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(root).fontFamily, size: 12, color: look.text }, hovermode: "x unified",
    hoverlabel: { bgcolor: look.paper, bordercolor: look.line, font: { color: look.strong } },
    xaxis: { ...axis, title: { text: words.step, standoff: 6 }, rangemode: "nonnegative", tickformat: "~s", hoverformat: ",d", showgrid: false },
    yaxis: { ...axis, exponentformat: "e", rangemode: chart.zero ? "tozero" : "normal", nticks: 6, ...(isLog(chart) ? { type: "log", dtick: 1 } : { type: "linear" }) },
    showlegend: drawn.filter((trace) => trace.showlegend !== false).length > 1, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: look.strong } },
    datarevision: `${outline.id} ${(chart.series || []).map((item) => series[item.key]?.n || 0).join()}`,
  };
  const made = chart.layers ? layerLayout(whole) : whole;
  for (const [axis, range] of Object.entries(zooms[zoomName(chart)] || {})) Object.assign(made[`${axis}axis`], { range: [...range], autorange: false });
  return made;
}

// Plotly's own bar, which appears over a chart: the picture as PNG and as SVG.
function settings(Plotly, chart) {
  const picture = (format, title, icon) => ({
    name: format, title, icon,
    click: ({ data, layout: shown, offsetWidth: width }) => {
      const named = { ...shown, title: { text: heading(chart), x: 0.02 }, margin: { ...shown.margin, t: 48 } };
      return Plotly.downloadImage({ data, layout: named }, { format, width, height: shown.height + 40, scale: format === "png" ? 2 : 1, filename: `${run}-${chart.key}` });
    },
  });
  const buttons = [picture("png", words.png, Plotly.Icons.camera), picture("svg", words.svg, Plotly.Icons.disk)];
  return { responsive: true, displaylogo: false, displayModeBar: "hover", modeBarButtons: [buttons], doubleClick: "autosize" };
}

async function drawPlot(Plotly, card) {
  const { chart, plot } = card;
  const first = !plot.data;
  const found = traces(chart);
  await Plotly.react(plot, found, layout(chart, coloursOf(root), found), settings(Plotly, chart));
  if (!first) return;
  plot.on("plotly_relayout", () => {
    const name = zoomName(chart);
    const axes = ["x", "y"].map((axis) => [axis, plot.layout[`${axis}axis`]]).filter(([, axis]) => axis.range && !axis.autorange);
    delete zooms[name];
    if (axes.length) zooms[name] = Object.fromEntries(axes.map(([axis, { range }]) => [axis, [...range]]));
    keepViews();
  });
}

function cardFor(chart) {
  const box = make("section", "lp-card");
  box.dataset.key = chart.key;
  const head = make("div", "lp-head");
  const title = make("h3", "lp-title", chart.title);
  if (unitOf(chart)) title.append(" ", make("span", "lp-unit", `(${unitOf(chart)})`));
  const now = make("span", "lp-now");
  const button = make("button", "lp-button", words.table);
  button.type = "button";
  button.setAttribute("aria-expanded", "false");
  const plot = make("div", "lp-plot");
  plot.setAttribute("role", "img");
  const table = make("div", "lp-table");
  table.hidden = true;
  button.addEventListener("click", () => {
    table.hidden = !table.hidden;
    plot.hidden = !table.hidden;
    button.textContent = table.hidden ? words.table : words.chart;
    button.setAttribute("aria-expanded", String(!table.hidden));
    cards[chart.key].changed = true;
    draw();
  });
  const buttons = make("div", "lp-buttons");
  for (const kind of ["log", "smooth"]) if (chart[kind]) buttons.append(switchFor(chart, kind));
  buttons.append(button);
  head.append(title, now, buttons);
  box.append(head, plot, table);
  inSight.observe(box);
  return { chart, box, plot, table, now, changed: true };
}

function switchFor(chart, kind) {
  const button = make("button", "lp-button", words[kind]);
  button.type = "button";
  button.dataset.kind = kind;
  button.addEventListener("click", () => {
    views[chart.key] = { ...views[chart.key], [kind]: button.getAttribute("aria-pressed") !== "true" };
    if (kind === "log") delete zooms[zoomName(chart)]?.y; // its numbers are those of the other kind of axis
    keepViews();
    cards[chart.key].changed = true;
    draw();
  });
  return button;
}

async function draw() {
  const filled = charts.filter((chart) => (chart.layers ? hasLayers(chart) : chart.series.some((item) => series[item.key]?.last?.length)));
  root.querySelector(".lp-empty").hidden = filled.length > 0;
  if (!filled.length || !visible()) return;
  try {
    const asked = run;
    const Plotly = await plotly();
    for (const chart of filled) cards[chart.key] ||= cardFor(chart);
    const boxes = charts.filter((chart) => cards[chart.key]).map((chart) => cards[chart.key].box);
    if (boxes.some((box, place) => grid.children[place] !== box)) grid.append(...boxes); // the table's order, whichever came first
    for (const card of Object.values(cards)) {
      if (asked !== run) return;
      if (!card.changed || !card.near) continue;
      card.changed = false;
      describe(card);
      if (!card.table.hidden) drawTable(card);
      else await drawPlot(Plotly, card);
    }
    if (Object.values(cards).every((card) => card.near !== undefined)) root.dataset.drawn = run;
  } catch (error) {
    note(say(words.failed, { detail: error.message }));
  }
}

const short = (value) => (value === undefined ? "" : String(Number(value.toPrecision(4))));

function describe(card) {
  const { chart } = card;
  const curves = (chart.series || []).filter((item) => !item.mark);
  const newest = curves.filter((item) => series[item.key]?.last?.length).map((item) => {
    const value = short(series[item.key].last[1] * chart.scale);
    return curves.length > 1 ? `${item.name} ${value}` : value;
  });
  card.now.textContent = newest.join(" · ");
  for (const button of card.box.querySelectorAll("[data-kind]"))
    button.setAttribute("aria-pressed", String(button.dataset.kind === "log" ? isLog(chart) : isSmooth(chart)));
  card.plot.setAttribute("aria-label", `${heading(chart)}: ${newest.join(", ")}`);
}

// ---- the same numbers as a table and as a file ------------------------------------------------------------------------

function rows(chart) {
  if (chart.layers) return layerTable(chart);
  const found = new Map();
  listed(chart).forEach((item, place) => {
    const { x, y } = points(item.key, chart.scale);
    x.forEach((step, i) => {
      // A bucket's low and high are points of their own; two values at one step make two rows.
      let key = `${step}`;
      while (found.has(key) && found.get(key)[place + 1] !== undefined) key += "'";
      if (!found.has(key)) found.set(key, [step]);
      found.get(key)[place + 1] = Number(y[i].toPrecision(6));
    });
  });
  return [...found.values()].sort((a, b) => a[0] - b[0]);
}

const columns = (chart) => (chart.layers ? layerColumns() : seriesColumns(chart));
const listed = (chart) => chart.series.filter((item) => !item.mark || series[item.key]); // no column of marks that never were
const seriesColumns = (chart) => [words.step, ...listed(chart).map((item) => (unitOf(chart) ? `${item.name} (${unitOf(chart)})` : item.name))];

function drawTable(card) {
  const { chart } = card;
  const all = rows(chart);
  const newest = all.slice(-100).reverse();
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of columns(chart)) {
    const cell = make("th", "", name);
    cell.scope = "col";
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of newest) {
    const line = body.insertRow();
    columns(chart).forEach((_, place) => (line.insertCell().textContent = row[place] ?? ""));
  }
  const download = make("button", "lp-button", words.download);
  download.type = "button";
  download.addEventListener("click", () => save(chart));
  const scroll = make("div", "lp-scroll");
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", chart.title);
  scroll.append(table);
  const top = card.table.querySelector(".lp-scroll")?.scrollTop || 0;
  card.table.replaceChildren(make("p", "lp-note", say(words.rows, { shown: newest.length, count: all.length })), scroll, download);
  scroll.scrollTop = top;
}

function save(chart) {
  const quoted = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : (value ?? ""));
  const width = columns(chart).length;
  const lines = [columns(chart), ...rows(chart)].map((row) => Array.from({ length: width }, (_, i) => quoted(row[i] ?? "")).join(","));
  const link = make("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff" + lines.join("\r\n") + "\r\n"], { type: "text/csv;charset=utf-8" }));
  link.download = `${run}-${chart.key}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// ---- begin ----------------------------------------------------------------------------------------------------------

const status = make("p", "lp-status");
status.setAttribute("role", "status");
const grid = make("div", "lp-grid");
root.replaceChildren(make("p", "lp-empty", words.empty), status, grid);
// Drawing is what a live run costs a browser: only the charts in sight are drawn, the others once they are scrolled to.
const inSight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) if (cards[target.dataset.key]?.box === target) cards[target.dataset.key].near = isIntersecting;
  draw();
}, { rootMargin: "200px" });

function redraw() {
  for (const card of Object.values(cards)) card.changed = true;
  draw();
}

document.addEventListener("visibilitychange", () => visible() && wake());
// A tab of the page that is opened: draw what came meanwhile, at once.
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && (redraw(), wake())).observe(root);
new MutationObserver(redraw).observe(document.body, { attributes: true, attributeFilter: ["class"] }); // light ↔ dark
watch("value", () => show(props.value || ""));
show(props.value || "");
