// Paired differences as a table whose middle column is a forest plot on one common scale.

const WIDTH = 240; // of the forest plot's own coordinates
const HEIGHT = 22;

const pairedHere = () => records('paired').filter((r) => here(r) && isNumber(r.difference));

// The strategy to compare with stands second; among all pairs, the lower one does.
function oriented(r) {
  if (state.reference ? String(r.b) === state.reference : r.difference >= 0) return r;
  const turn = (v) => (isNumber(v) ? -v : v);
  return { ...r, a: r.b, b: r.a, difference: turn(r.difference), low: turn(r.high), high: turn(r.low) };
}

function verdict(r) {
  if (!isNumber(r.low) || !isNumber(r.high)) return { text: 'no interval', kind: 'none' };
  if (r.low > 0) return { text: `${r.a} is better`, kind: 'first' };
  if (r.high < 0) return { text: `${r.b} is better`, kind: 'second' };
  return { text: 'no difference shown', kind: 'none' };
}

function forest(r, [from, to]) {
  const x = (v) => ((Math.max(from, Math.min(to, v)) - from) / (to - from)) * WIDTH;
  const svg = element('svg:svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: `forest ${verdict(r).kind}`, preserveAspectRatio: 'none', 'aria-hidden': 'true',
  });
  const line = (x1, x2, y1, y2, kind) => element('svg:line', { x1, x2, y1, y2, class: kind, 'vector-effect': 'non-scaling-stroke' });
  svg.append(line(x(0), x(0), 0, HEIGHT, 'zero'));
  if (isNumber(r.low) && isNumber(r.high)) {
    svg.append(line(x(r.low), x(r.high), HEIGHT / 2, HEIGHT / 2, 'whisker'));
  }
  // A round-capped line of no length stays round however the plot is stretched.
  svg.append(line(x(r.difference), x(r.difference), HEIGHT / 2, HEIGHT / 2, 'point'));
  return svg;
}

// The numbers above the forest plots: both ends, and 0 where it lies apart from them.
function scale([from, to]) {
  const mark = (v) => {
    const left = (100 * (v - from)) / (to - from);
    return element('span', { style: `left:${left}%`, class: left < 8 ? 'left' : left > 92 ? 'right' : '' }, v === 0 ? '0' : signed(v).replace('.0', ''));
  };
  const apart = -from > 0.12 * (to - from) && to > 0.12 * (to - from);
  return element('div', { class: 'scale' }, mark(from), ...(apart ? [mark(0)] : []), mark(to));
}

// Round numbers of points around every interval and 0.
function extent(rows) {
  const values = [0, ...rows.flatMap((r) => [r.low, r.high, r.difference]).filter(isNumber)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((v) => v * 8 >= high - low) ?? 0.5;
  return [Math.floor(low / step - 1e-9) * step, Math.ceil(high / step + 1e-9) * step];
}

function pValue(p) {
  if (!isNumber(p)) return '–';
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}

function drawPaired() {
  if (!byId('paired')) return;
  const rows = pairedHere()
    .filter((r) => (r.n ?? null) === state.pairedN)
    .filter((r) => !state.reference || [String(r.a), String(r.b)].includes(state.reference))
    .filter((r) => visible(String(r.a)) && visible(String(r.b)))
    .map(oriented)
    .sort((a, b) => b.difference - a.difference || String(a.a).localeCompare(String(b.a)));
  const ends = extent(rows);
  const body = rows.map((r) => {
    const { text, kind } = verdict(r);
    const name = (label, sign = '') => element('span', { class: 'nowrap' }, swatch(label), ` ${sign}${label}`);
    return element(
      'tr', {},
      element('th', { scope: 'row' }, name(String(r.a)), ' ', element('br'), name(String(r.b), '− ')),
      element('td', { class: 'plot' }, forest(r, ends)),
      element('td', { class: 'number' }, `${signed(r.difference)} `, element(
        'span', { class: 'interval' },
        isNumber(r.low) && isNumber(r.high) ? `[${signed(r.low)}, ${signed(r.high)}]` : '[no interval]',
      )),
      element('td', { class: `verdict ${kind}` }, text),
      element('td', { class: 'number', 'data-name': 'p' }, pValue(r.p_value)),
      element('td', { class: 'number', 'data-name': 'problems' }, compact(r.problems)),
    );
  });
  const heads = [['Pair'], [scale(ends), 'plot'], ['Points', 'number'], ['In words'], ['p', 'number'], ['Problems', 'number']];
  byId('paired-table').replaceChildren(
    element('caption', {}, 'Differences in accuracy, in percentage points'),
    element('thead', {}, element('tr', {}, ...heads.map(([text, kind]) => element('th', { scope: 'col', class: kind }, text)))),
    element('tbody', {}, ...body),
  );
  byId('paired-caption').textContent = rows.length
    ? 'Each interval stands for itself: among many pairs that do not differ, a few intervals leave out 0 by chance.'
    : 'No pair for this choice.';
}
