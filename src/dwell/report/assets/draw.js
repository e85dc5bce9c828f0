// How things look: colours that colour-blind readers tell apart, markers, and the common layout.

// Okabe and Ito's palette without its yellow and black, which vanish on a white or a black page,
// and two more hues; darkened or lightened until each stands at about 3:1 on its background.
const COLOURS = {
  light: ['#0072b2', '#d55e00', '#009e73', '#b8578f', '#c98500', '#3b9fd8', '#7d1f4b', '#7a7a1e'],
  dark: ['#4ba6e0', '#f0813f', '#2bc298', '#e29ac4', '#efb13c', '#8fd0f5', '#d0698f', '#bdbd55'],
};
const SYMBOLS = [
  'circle', 'square', 'diamond', 'triangle-up', 'triangle-down', 'pentagon', 'star', 'cross',
  'x', 'hexagon', 'triangle-left', 'triangle-right', 'hourglass', 'bowtie', 'star-square', 'star-diamond',
];

const curvesByLabel = new Map(records('curves').map((c) => [labelOf(c), c]));
const isBound = (label) => Boolean(curvesByLabel.get(label)?.oracle);
// A strategy whose budget is not a number of draws, such as waits, has no place on an axis of N.
const scaleOf = (label) => curvesByLabel.get(label)?.scale || 'n';
const ofDraws = (label) => scaleOf(label) === 'n';
const atBudget = (label, n) => (isNumber(n) ? `, ${ofDraws(label) ? 'N' : plain(scaleOf(label))} = ${compact(n)}` : '');
const labels = distinct(['curves', 'levels', 'paired', 'frontier'].flatMap(records).flatMap(
  (r) => ('a' in r ? [String(r.a), String(r.b)] : [labelOf(r)]),
));
const ranked = [...labels.filter((l) => !isBound(l)), ...labels.filter(isBound)];

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
}

// A colour of the style sheet as the page shows it now; Plotly cannot read `var()`.
const probe = element('span', { hidden: 'true' });
document.body.append(probe);
function colour(name) {
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function hue(index) {
  const palette = COLOURS[isDark() ? 'dark' : 'light'];
  return palette[index % palette.length];
}

// Colour, marker and dash of a strategy: the same in every chart. A second round through the
// colours has another dash, so that no two of sixteen strategies look alike even without markers.
function look(label) {
  const index = Math.max(0, ranked.indexOf(label));
  const symbol = SYMBOLS[index % SYMBOLS.length];
  if (isBound(label)) return { color: colour('muted'), symbol, dash: 'dot' };
  return { color: hue(index), symbol, dash: index < COLOURS.light.length ? 'solid' : 'longdashdot' };
}

function faded(hex, alpha) {
  if (hex.startsWith('rgb')) return hex.replace(/^rgba?\(([^)]*)\)$/, `rgba($1, ${alpha})`);
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${alpha})`;
}

const isNarrow = () => innerWidth < 640;

const CONFIG = {
  responsive: true,
  displaylogo: false,
  displayModeBar: matchMedia('(hover: hover)').matches ? 'hover' : false,
  // Only these: plotly.js 4 has by default a button that uploads the chart to its maker.
  modeBarButtons: [['toImage', 'zoom2d', 'pan2d', 'resetScale2d']],
  showSendToCloud: false,
  plotlyServerURL: '',
  toImageButtonOptions: { format: 'svg', filename: 'dwell' },
};

function layout(x, y, more = {}) {
  const axis = {
    gridcolor: colour('grid'), linecolor: colour('line'), tickcolor: colour('line'),
    zeroline: false, ticks: 'outside', ticklen: 4, automargin: true,
    tickfont: { color: colour('muted'), size: 12 },
  };
  const title = (text) => (text ? { text, font: { color: colour('ink'), size: 13 }, standoff: 10 } : undefined);
  return {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour('ink') },
    margin: { l: isNarrow() ? 44 : 60, r: 14, t: 14, b: 48 },
    showlegend: false,
    hovermode: 'closest',
    // On a touch screen a drag must scroll the page.
    dragmode: matchMedia('(pointer: coarse)').matches ? false : 'zoom',
    modebar: { bgcolor: colour('card'), color: colour('line'), activecolor: colour('accent') },
    hoverlabel: {
      bgcolor: colour('card'), bordercolor: colour('line'), align: 'left',
      font: { color: colour('ink'), size: 13, family: getComputedStyle(document.body).fontFamily },
    },
    ...more,
    xaxis: { ...axis, ...x, title: title(x.title) },
    yaxis: { ...axis, tickformat: '.0%', ...y, title: title(y.title) },
  };
}

// The axis of accuracy: as wide as the intervals, with a little air, within what is possible.
function accuracyRange(values) {
  const known = values.filter(isNumber);
  if (!known.length) return [0, 1];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const air = 0.04 * Math.max(high - low, 0.1);
  return [Math.max(-0.02, low - air), Math.min(1.02, high + air)];
}

// Ticks of a logarithmic axis of draws: the measured N, and their doublings as far as a law goes;
// thinned to what fits, and none so close to another that their texts would touch.
function drawTicks(measured, end) {
  const all = distinct(measured.filter((v) => isNumber(v) && v > 0)).sort((a, b) => a - b);
  if (!all.length) return {};
  while (all.at(-1) * 2 <= end) all.push(all.at(-1) * 2);
  const least = Math.log(all.at(-1) / all[0]) / (isNarrow() ? 8 : 20);
  const kept = all.toReversed().reduce(
    (list, v) => (list.length && Math.log(list.at(-1) / v) < least ? list : [...list, v]), [],
  );
  return ticksAt(kept);
}

// Ticks of any logarithmic axis: 1, 2, 5 of each decade, or fewer where they would crowd.
function logTicks(values) {
  const known = values.filter((v) => isNumber(v) && v > 0);
  const [low, high] = [Math.min(...known) / 2, Math.max(...known) * 2];
  const decades = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e += 1) decades.push(e);
  const within = (steps) => decades.flatMap((e) => steps.map((s) => Number(`${s}e${e}`)))
    .filter((v) => v >= low && v <= high);
  const choices = [[1, 2, 5], [1, 3], [1]].map(within);
  return ticksAt(choices.find((c) => c.length <= (isNarrow() ? 6 : 12)) ?? choices.at(-1));
}

const ticksAt = (values) => ({ tickmode: 'array', tickvals: values, ticktext: values.map(compact) });

function band(xs, lows, highs, color, alpha) {
  return {
    type: 'scatter', mode: 'lines', x: [...xs, ...xs.toReversed()],
    y: [...highs, ...lows.toReversed()], fill: 'toself', fillcolor: faded(color, alpha),
    line: { width: 0 }, hoverinfo: 'skip',
  };
}

function show(id, traces, chartLayout, height) {
  const node = byId(id);
  node.style.height = `${height}px`;
  return Plotly.react(node, traces, { ...chartLayout, height }, CONFIG);
}

// A sample of a strategy's line and marker, for legends and tables.
function swatch(label) {
  const { color, dash } = look(label);
  const dashes = { dot: '2 3', longdashdot: '7 2 2 2' }[dash];
  const svg = element('svg:svg', { viewBox: '0 0 26 12', width: 26, height: 12, 'aria-hidden': 'true' });
  svg.append(
    element('svg:line', { x1: 0, x2: 26, y1: 6, y2: 6, stroke: color, 'stroke-width': 2, 'stroke-dasharray': dashes }),
    element('svg:path', { d: markerPath(look(label).symbol), transform: 'translate(13 6)', fill: color }),
  );
  return svg;
}

// The outline of a Plotly marker, so that the legend shows exactly what the chart shows.
function markerPath(symbol) {
  const polygon = (n, turn, inner = 1) => {
    const corners = [];
    for (let i = 0; i < n; i += 1) {
      const angle = turn + (2 * Math.PI * i) / n;
      const radius = i % 2 ? 5 * inner : 5;
      corners.push(`${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`);
    }
    return `M${corners.join('L')}Z`;
  };
  const shapes = {
    circle: 'M-4 0A4 4 0 1 1 4 0A4 4 0 1 1 -4 0Z',
    square: 'M-4 -4H4V4H-4Z',
    diamond: polygon(4, 0),
    'triangle-up': polygon(3, 0),
    'triangle-down': polygon(3, Math.PI),
    'triangle-left': polygon(3, -Math.PI / 2),
    'triangle-right': polygon(3, Math.PI / 2),
    pentagon: polygon(5, 0),
    hexagon: polygon(6, 0),
    star: polygon(10, 0, 0.4),
    cross: 'M-1.7 -5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z',
    x: 'M-5 -2.6L-2.6 -5L0 -2.4L2.6 -5L5 -2.6L2.4 0L5 2.6L2.6 5L0 2.4L-2.6 5L-5 2.6L-2.4 0Z',
    hourglass: 'M-4 -4H4L-4 4H4Z',
    bowtie: 'M-4 -4V4L4 -4V4Z',
    'star-square': polygon(8, Math.PI / 4, 0.5),
    'star-diamond': polygon(8, 0, 0.5),
  };
  return shapes[symbol];
}
