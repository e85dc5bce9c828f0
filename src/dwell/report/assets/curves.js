// The main chart: accuracy against draws, tokens, FLOPs or seconds, with the fitted laws.

const visible = (label) => !state.hidden.has(label);

// The points of a curve that have a place on the axis, in its order.
function pointsOn(curve, axis) {
  const { key } = AXES[axis] ?? { key: 'n' };
  if (axis === 'n' && !ofDraws(labelOf(curve))) return [];
  return (curve.points || [])
    .filter((p) => isNumber(p[key]) && isNumber(p.accuracy) && (!state.log || p[key] > 0))
    .sort((a, b) => a[key] - b[key]);
}

const curvesHere = () => records('curves').filter((c) => here(c) && (c.points || []).length);

// Where N draws lie on another axis: straight lines between the measured points in log-log,
// continued at the ends with the nearest slope (cost grows as a power of N, nearly linearly).
function placeOfN(curve, axis, n) {
  if (axis === 'n') return n;
  const { key } = AXES[axis];
  const known = (curve.points || [])
    .filter((p) => p.n > 0 && p[key] > 0)
    .map((p) => [Math.log(p.n), Math.log(p[key])])
    .sort((a, b) => a[0] - b[0]);
  if (!known.length) return null;
  const x = Math.log(n);
  if (known.length === 1) return Math.exp(known[0][1] + x - known[0][0]);
  let i = known.findIndex(([t]) => t >= x);
  i = Math.min(Math.max(i < 0 ? known.length - 1 : i, 1), known.length - 1);
  const [[x0, y0], [x1, y1]] = [known[i - 1], known[i]];
  return x1 === x0 ? Math.exp(y1) : Math.exp(y0 + ((y1 - y0) * (x - x0)) / (x1 - x0));
}

function hoverText(curve, p, held) {
  const bound = curve.oracle ? `<br>${BOUNDS[curve.strategy] ?? 'upper bound: an oracle picks the answer'}` : '';
  const cost = costText(p);
  const spread = isNumber(p.runs) ? `<br>${p.runs} runs, from ${percent(p.runs_least)} to ${percent(p.runs_most)}` : '';
  return `<b>${plain(labelOf(curve))}</b>${atBudget(labelOf(curve), p.n)}<br>`
    + `accuracy ${percent(p.accuracy)} ${interval(p.low, p.high)}<br>${cost}`
    + `<br>${compact(p.problems)} problems${spread}`
    + `${curve.estimator && !curve.oracle ? ` · ${plain(curve.estimator)}` : ''}`
    + `${held ? ' · held out of the fit' : ''}${bound}`;
}

function measuredTraces(curve, alpha) {
  const { color, symbol, dash } = look(labelOf(curve));
  const points = pointsOn(curve, state.axis);
  const xs = points.map((p) => p[AXES[state.axis].key]);
  const held = new Set(state.laws && curve.law ? curve.law.holdout_n || [] : []);
  const isHeld = points.map((p) => held.has(p.n));
  const line = {
    type: 'scatter', mode: 'lines+markers', x: xs, y: points.map((p) => p.accuracy),
    text: points.map((p, i) => hoverText(curve, p, isHeld[i])), hovertemplate: '%{text}<extra></extra>',
    line: { color, width: 2, dash },
    marker: {
      symbol, size: 8.5, color: isHeld.map((h) => (h ? colour('card') : color)),
      line: { color, width: 1.6 },
    },
  };
  const sure = points.filter((p) => isNumber(p.low) && isNumber(p.high));
  const traces = { over: [line], under: [] };
  if (state.intervals && sure.length > 1) {
    const at = sure.map((p) => p[AXES[state.axis].key]);
    traces.under.push(band(at, sure.map((p) => p.low), sure.map((p) => p.high), color, alpha));
  } else if (state.intervals && sure.length === 1) {
    line.error_y = errorBars(sure, color);
  }
  return traces;
}

function errorBars(points, color) {
  return {
    type: 'data', symmetric: false, color, thickness: 1.4, width: 4,
    array: points.map((p) => p.high - p.accuracy), arrayminus: points.map((p) => p.accuracy - p.low),
  };
}

// A law that the data do not determine is drawn faintly, and marks no saturation.
const undetermined = (curve) => curve.law.verdict === 'not identified';

function lawTraces(curve, withBand) {
  const rows = curve.law && state.laws ? (curve.law.band || []).filter((b) => isNumber(b.mean)) : [];
  const placedRows = rows
    .map((b) => ({ ...b, x: placeOfN(curve, state.axis, b.n) }))
    .filter((b) => isNumber(b.x));
  if (!placedRows.length) return { over: [], under: [] };
  const { color } = look(labelOf(curve));
  const xs = placedRows.map((b) => b.x);
  const name = plain(String(curve.law.name || 'law').replaceAll('_', ' '));
  const over = [{
    type: 'scatter', mode: 'lines', x: xs, y: placedRows.map((b) => b.mean),
    line: { color: undetermined(curve) ? faded(color, 0.4) : color, width: 1.8, dash: 'dash' },
    text: placedRows.map((b) => `<b>${plain(labelOf(curve))}</b>, law: ${name}<br>`
      + `N = ${compact(b.n)}: ${percent(b.mean)} ${interval(b.low, b.high)}`
      + `${undetermined(curve) ? '<br>the data do not determine this law' : ''}`),
    hovertemplate: '%{text}<extra></extra>',
  }, ...saturationTrace(curve, placedRows, color)];
  const sure = placedRows.filter((b) => isNumber(b.low) && isNumber(b.high));
  const under = withBand && sure.length > 1
    ? [band(sure.map((b) => b.x), sure.map((b) => b.low), sure.map((b) => b.high), color, 0.1)]
    : [];
  return { over, under };
}

// The saturation point, on the law; one beyond the law's drawn range stands in the table alone.
function saturationTrace(curve, rows, color) {
  const n = curve.law.saturation;
  const i = rows.findIndex((b) => b.n >= n);
  if (undetermined(curve) || !isNumber(n) || i < 0 || n < rows[0].n) return [];
  const [a, b] = [rows[Math.max(0, i - 1)], rows[i]];
  const share = b.n === a.n ? 0 : Math.log(n / a.n) / Math.log(b.n / a.n);
  return [{
    type: 'scatter', mode: 'markers', x: [placeOfN(curve, state.axis, n)],
    y: [a.mean + share * (b.mean - a.mean)],
    marker: { symbol: 'diamond-tall-open', size: 17, color, line: { width: 2, color } },
    text: [`<b>${plain(labelOf(curve))}</b><br>saturates at N = ${compact(n)}`],
    hovertemplate: '%{text}<extra></extra>',
  }];
}

function drawCurves() {
  if (!byId('curves')) return;
  const all = curvesHere();
  const shown = all.filter((c) => visible(labelOf(c)));
  const few = shown.filter((c) => c.law).length <= 2;
  const traces = { under: [], over: [] };
  for (const curve of shown) {
    const label = labelOf(curve);
    const law = lawTraces(curve, state.intervals && (few || state.focus === label));
    // Many overlapping bands would mix to mud: the more there are, the fainter each is.
    const measured = measuredTraces(curve, state.focus === label ? 0.2 : Math.max(0.045, 0.4 / (2 + shown.length)));
    const dim = state.focus && state.focus !== label;
    for (const [place, list] of [['under', [...measured.under, ...law.under]], ['over', [...law.over, ...measured.over]]]) {
      traces[place].push(...list.map((t) => ({ ...t, opacity: dim ? 0.12 : 1 })));
    }
  }
  const values = shown.flatMap((c) => pointsOn(c, state.axis).flatMap((p) => [p.accuracy, p.low, p.high]));
  const xs = shown.flatMap((c) => pointsOn(c, state.axis).map((p) => p[AXES[state.axis].key]));
  const laws = shown.flatMap((c) => (state.laws && c.law ? c.law.band || [] : []));
  const x = { title: AXES[state.axis].title, type: state.log ? 'log' : 'linear' };
  if (state.axis === 'n' && state.log) Object.assign(x, drawTicks(xs, Math.max(...laws.map((b) => b.n))));
  else if (state.log) Object.assign(x, logTicks(xs));
  else Object.assign(x, { tickformat: '~s', rangemode: 'tozero' });
  const y = { title: 'accuracy', range: accuracyRange([...values, ...laws.map((b) => b.mean)]) };
  const none = [{
    text: all.length ? 'All strategies are hidden.' : 'No curve for this task and model.',
    xref: 'paper', yref: 'paper', x: 0.5, y: 0.5, showarrow: false,
  }];
  show('curves-chart', [...traces.under, ...traces.over], layout(x, y, {
    annotations: shown.length ? [] : none,
    uirevision: `${state.task} ${state.model} ${state.axis} ${state.log}`,
  }), isNarrow() ? 400 : 520);
  drawCurvesCaption(shown);
}

function drawCurvesCaption(shown) {
  const laws = shown.some((c) => c.law) && state.laws;
  const beyond = shown.filter((c) => state.laws && isNumber(c.law?.saturation) && !undetermined(c)
    && !saturationTrace(c, (c.law.band || []).filter((b) => isNumber(b.mean)), '#000000').length);
  const key = [
    ...(laws ? [['fitted law', lawKey('5 3')], ['point used in the fit', dotKey(true)],
      ['point held out of the fit', dotKey(false)], ['saturation', saturationKey()]] : []),
    ...(shown.some((c) => c.oracle) ? [['reads the true grades', lawKey('2 3')]] : []),
  ];
  const note = noteOn(state.axis);
  byId('curves-caption').replaceChildren(
    ...(note ? [element('span', { class: 'key' }, `${AXES[state.axis].name}: ${note}.`)] : []),
    ...key.map(([text, mark]) => element('span', { class: 'key' }, mark, text)),
    ...beyond.map((c) => element('span', { class: 'key' },
      `${labelOf(c)} saturates beyond this chart, at N = ${compact(c.law.saturation)}.`)),
    ...shown.filter((c) => !pointsOn(c, state.axis).length).map((c) => element('span', { class: 'key' },
      `${labelOf(c)} has no place on this axis${ofDraws(labelOf(c)) ? '' : `: its budget is of ${scaleOf(labelOf(c))}`}.`)),
  );
}

function keyMark(...shapes) {
  return element('svg:svg', { viewBox: '0 0 22 14', width: 22, height: 14, 'aria-hidden': 'true' }, ...shapes);
}

const lawKey = (dashes) => keyMark(element('svg:path', {
  d: 'M0 7H22', stroke: 'currentColor', 'stroke-width': 1.8, 'stroke-dasharray': dashes,
}));
const dotKey = (filled) => keyMark(element('svg:circle', {
  cx: 11, cy: 7, r: 4, fill: filled ? 'currentColor' : 'none', stroke: 'currentColor', 'stroke-width': 1.6,
}));
const saturationKey = () => keyMark(element('svg:path', {
  d: 'M11 0.5L14.5 7L11 13.5L7.5 7Z', fill: 'none', stroke: 'currentColor', 'stroke-width': 1.6,
}));
