// Heat maps of the norms per layer: what live_plot.js, which follows in the same script, draws differently for them.
// A chart with `layers` names the list of numbers in each row of `layerRows`; layers stand above each other, steps side by side.

let layerNames = [];
let layerRows = []; // {step, gradient: [norm, …], weight: [norm, …]}
let layersAsked = 0; // when they were asked for last
const LAYERS_EVERY = 4000; // ms

const hasLayers = (chart) => layerRows.some((row) => row[chart.layers]?.some((value) => value !== null));

function forgetLayers() {
  layerNames = [];
  layerRows = [];
  layersAsked = 0;
}

// Takes what the server sends; whether anything is new.
function takeLayers(answer) {
  if (answer.layers) {
    layerNames = answer.layers;
    layerRows = answer.rows;
    return true;
  }
  layerRows.push(...(answer.rows || []));
  return Boolean(answer.rows?.length);
}

const layerRequest = (run) => ({ run, count: layerRows.length, last: layerRows.at(-1)?.step ?? 0 });

// The colour is the logarithm: norms differ by orders of magnitude between layers and over a run.
function layerTraces(chart) {
  const values = layerNames.map((_, at) => layerRows.map((row) => row[chart.layers][at]));
  const logs = values.map((line) => line.map((value) => (value > 0 ? Math.log10(value) : null)));
  const all = logs.flat().filter((value) => value !== null);
  const low = Math.min(...all), high = Math.max(...all);
  const ticks = [low, (low + high) / 2, high];
  return [{
    type: "heatmap", uid: chart.key, x: layerRows.map((row) => row.step), y: layerNames, z: logs, customdata: values, colorscale: "Viridis",
    colorbar: { thickness: 10, outlinewidth: 0, tickvals: ticks, ticktext: ticks.map((tick) => short(10 ** tick)) },
    hovertemplate: `${words.step} %{x:,d} · ${words.layer} %{y}: %{customdata:.4~g}<extra></extra>`,
  }];
}

function layerLayout(base) {
  return {
    ...base, hovermode: "closest", showlegend: false, height: Math.min(420, Math.max(250, 90 + 12 * layerNames.length)),
    yaxis: { ...base.yaxis, type: "category", rangemode: undefined, title: { text: words.layer, standoff: 6 }, showgrid: false },
    datarevision: `${layerRows.length} ${layerRows.at(-1)?.step}`,
  };
}

const layerTable = (chart) => layerRows.map((row) => [row.step, ...row[chart.layers].map((value) => value ?? "")]);
const layerColumns = () => [words.step, ...layerNames.map((name) => `${words.layer} ${name}`)];
