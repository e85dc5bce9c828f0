// Small multiples: accuracy by difficulty, one panel a strategy, the others in grey behind it.

const levelsHere = () => records('levels').filter((r) => here(r) && isNumber(r.accuracy));

// The chosen N; for a strategy whose budget is not of draws, the largest that was measured.
function shownBudget(label) {
  if (ofDraws(label)) return state.levelsN;
  return Math.max(...levelsHere().filter((r) => labelOf(r) === label).map((r) => r.n));
}

function drawLevels() {
  if (!byId('levels')) return;
  const rows = levelsHere().filter((r) => (r.n ?? null) === shownBudget(labelOf(r)));
  const levels = distinct(levelsHere().map((r) => r.level)).sort((a, b) => (isNumber(a) && isNumber(b) ? a - b : 0));
  const strategies = ranked.filter((l) => visible(l) && rows.some((r) => labelOf(r) === l));
  const grid = byId('levels-panels');
  grid.querySelectorAll('.chart').forEach((node) => Plotly.purge(node));
  grid.replaceChildren(...strategies.map((label, i) => element(
    'figure', {},
    element('figcaption', {}, swatch(label), ' ', label, isBound(label) ? boundMark(label) : null,
      ofDraws(label) ? null : element('small', {}, `${scaleOf(label)} = ${compact(shownBudget(label))}`)),
    element('div', {
      class: 'chart', id: `levels-chart-${i}`, role: 'img',
      'aria-label': `Accuracy of ${label} by difficulty: ${spoken(rows, label)}`,
    }),
  )));
  const range = accuracyRange(rows.filter((r) => visible(labelOf(r))).flatMap((r) => [r.accuracy, r.low, r.high]));
  strategies.forEach((label, i) => drawPanel(`levels-chart-${i}`, label, strategies, rows, levels, range));
  const used = rows.filter((r) => labelOf(r) === strategies[0]).map((r) => r.problems).filter(isNumber);
  byId('levels-caption').textContent = strategies.length
    ? `Across: the level of difficulty${used.length ? `, with ${fromTo(used)} problems each` : ''}.`
    : 'No split by difficulty for this task, model and N.';
}

function fromTo(counts) {
  const [low, high] = [Math.min(...counts), Math.max(...counts)];
  return low === high ? compact(low) : `${compact(low)} to ${compact(high)}`;
}

// What curves that read the true grades are (as in tables.py).
const BOUNDS = { worst: 'lower bound', average: 'no choice made', turns: 'by the true grade' };
const boundMark = (label) => element('span', { class: 'bound' }, BOUNDS[curvesByLabel.get(label)?.strategy] ?? 'upper bound');

function spoken(rows, label) {
  return rows.filter((r) => labelOf(r) === label)
    .map((r) => `level ${r.level} ${percent(r.accuracy)}`).join(', ');
}

function drawPanel(id, label, strategies, rows, levels, range) {
  const line = (name, style, sure) => {
    const points = rows.filter((r) => labelOf(r) === name)
      .sort((a, b) => levels.indexOf(a.level) - levels.indexOf(b.level));
    const trace = {
      type: 'scatter', mode: 'lines', x: points.map((p) => String(p.level)),
      y: points.map((p) => p.accuracy), line: { width: 1, color: colour('ghost') }, hoverinfo: 'skip',
      ...style,
    };
    if (sure && points.every((p) => isNumber(p.low) && isNumber(p.high))) trace.error_y = errorBars(points, look(name).color);
    if (sure) {
      trace.hoverinfo = 'text';
      trace.text = points.map((p) => `<b>${plain(name)}</b>, level ${plain(p.level)}<br>`
        + `${percent(p.accuracy)} ${interval(p.low, p.high)}<br>${compact(p.problems)} problems`);
    }
    return trace;
  };
  const { color, symbol } = look(label);
  const traces = [
    ...strategies.filter((s) => s !== label).map((s) => line(s, {}, false)),
    line(label, { mode: 'lines+markers', line: { color, width: 2 }, marker: { symbol, color, size: 8 } }, true),
  ];
  const x = { title: '', type: 'category', categoryorder: 'array', categoryarray: levels.map(String) };
  const chart = layout(x, { title: '', range, nticks: 5 }, { margin: { l: 42, r: 6, t: 6, b: 26 } });
  const node = byId(id);
  node.style.height = '170px';
  Plotly.newPlot(node, traces, { ...chart, height: 170 }, { ...CONFIG, displayModeBar: false });
}
