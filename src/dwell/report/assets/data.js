// The embedded results, the reader's choices, and how numbers are written (as wording.py does).

const results = JSON.parse(document.getElementById('results').textContent);
const records = (name) => results[name] || [];
const labelOf = (record) => String(record.label || record.strategy || 'unnamed');
const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
const distinct = (values) => [...new Set(values)];
const byId = (id) => document.getElementById(id);

// What the reader chose. Everything drawn is a function of this and of the results.
const state = {
  task: undefined,
  model: undefined,
  axis: undefined,
  frontierAxis: undefined,
  log: true,
  intervals: true,
  laws: true,
  hidden: new Set(), // labels of strategies
  focus: null, // label under the pointer
  levelsN: undefined,
  pairedN: undefined,
  reference: '', // '' = all pairs
};

// What accuracy can be drawn against; only what some point has is offered. A cost of 0 is one
// that is not known. Draws used are told apart from N where a strategy stops early.
const COST_AXES = {
  draws: { name: 'Draws used', title: 'draws used per problem', key: 'draws' },
  tokens: { name: 'Tokens', title: 'tokens charged per problem', key: 'tokens_charged' },
  flops: { name: 'FLOPs', title: 'FLOPs per problem', key: 'flops' },
  eflops: { name: 'eFLOPs', title: 'equivalent FLOPs per problem', key: 'eflops' },
  seconds: { name: 'Seconds', title: 'seconds per problem', key: 'seconds' },
  usd: { name: 'Dollars', title: 'US dollars per problem', key: 'usd' },
};
const everyPoint = records('curves').flatMap((c) => c.points || []);
const isKnown = ([, { key }]) => everyPoint.some((p) => isNumber(p[key]) && p[key] > 0
  && (key !== 'draws' || p.draws !== p.n));
const knownCosts = Object.entries(COST_AXES).filter(isKnown);
const COSTS = Object.fromEntries(knownCosts.length ? knownCosts : [['draws', COST_AXES.draws]]);
const AXES = {
  ...(everyPoint.some((p) => isNumber(p.n)) ? { n: { name: 'N', title: 'draws per problem N', key: 'n' } } : {}),
  ...Object.fromEntries(knownCosts),
};
const noteOn = (axis) => ((results.axes || {})[COST_AXES[axis]?.key] ?? '');

const here = (record) =>
  (record.task ?? '') === state.task && (record.model ?? '') === state.model;

// Task and model of every record that has them, in order of first appearance.
const placed = ['curves', 'levels', 'paired'].flatMap(records);
const tasks = distinct([...placed, ...records('frontier')].map((r) => r.task ?? ''));
const sizes = new Map(
  [...((results.study || {}).models || []).map((m) => [m.name, m.num_parameters]),
    ...records('frontier').map((r) => [r.model, r.num_parameters])],
);
const bySize = (a, b) => (sizes.get(a) ?? 0) - (sizes.get(b) ?? 0);
// Means over runs come first: they are what a reader of many runs wants to see.
const means = new Set(records('curves').filter((c) => c.mean_over_runs).map((c) => c.model ?? ''));
const models = distinct(placed.map((r) => r.model ?? ''))
  .sort((a, b) => means.has(b) - means.has(a) || bySize(a, b));

const SUFFIXES = [[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k']];

function compact(value) {
  if (!isNumber(value)) return '–';
  if (Math.abs(value) < 999.5) return String(Number(value.toPrecision(3)));
  const [scale, suffix] = SUFFIXES.find(([s]) => Math.abs(value) >= 0.9995 * s);
  return `${Number((value / scale).toPrecision(3))} ${suffix}`;
}

function percent(prob) {
  return isNumber(prob) ? `${(100 * prob).toFixed(1)}%` : '–';
}

function interval(low, high) {
  if (!isNumber(low) || !isNumber(high)) return '[no interval]';
  return `[${(100 * low).toFixed(1)}, ${(100 * high).toFixed(1)}]`;
}

function signed(prob) {
  if (!isNumber(prob)) return '–';
  const text = (100 * prob).toFixed(1);
  if (Number(text) === 0) return '0.0';
  return prob > 0 ? `+${text}` : text.replace('-', '−');
}

function seconds(value) {
  if (!isNumber(value)) return '–';
  const short = (v) => String(Number(v.toPrecision(3)));
  if (value < 1e-3) return `${short(1e6 * value)} µs`;
  if (value < 1) return `${short(1e3 * value)} ms`;
  if (value < 120) return `${short(value)} s`;
  return value < 7200 ? `${short(value / 60)} min` : `${short(value / 3600)} h`;
}

function dollars(value) {
  if (!isNumber(value)) return '–';
  if (value && Math.abs(value) < 1e-3) return `$${value.toExponential(2).replace(/e-(\d)$/, 'e-0$1')}`;
  return Math.abs(value) >= 1000 ? `$${Math.round(value).toLocaleString('en')}` : `$${Number(value.toPrecision(3))}`;
}

// The costs of a point that are known, in words.
function costText(p) {
  return [
    isNumber(p.draws) && p.draws !== p.n ? `${compact(p.draws)} draws` : '',
    isNumber(p.tokens_charged) ? `${compact(p.tokens_charged)} tokens` : '',
    p.flops > 0 ? `${compact(p.flops)}FLOP` : '',
    p.eflops > 0 ? `${compact(p.eflops)}FLOP equivalent` : '',
    p.seconds > 0 ? seconds(p.seconds) : '',
    p.usd > 0 ? dollars(p.usd) : '',
  ].filter(Boolean).join(' · ');
}

// Plotly reads <b> and <a> in its texts: a label must not be markup.
function plain(text) {
  return String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

// An element with attributes and children; texts become text nodes, never markup.
function element(name, attributes = {}, ...children) {
  const node = name.startsWith('svg:')
    ? document.createElementNS('http://www.w3.org/2000/svg', name.slice(4))
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
