// What the reader can press, and the first drawing of everything.

// One choice among a few: radio buttons that look like one bar.
function segmented(name, legend, options, value, choose) {
  return element('fieldset', { class: 'segmented' }, element('legend', {}, legend), ...options.map(
    ([key, text, disabled], i) => {
      const input = element('input', { type: 'radio', name, id: `${name}-${i}`, disabled: disabled && 'true', onchange: () => choose(key) });
      input.checked = key === value;
      return element('span', {}, input, element('label', { for: `${name}-${i}` }, text));
    },
  ));
}

function tick(text, key) {
  const input = element('input', { type: 'checkbox', id: `show-${key}`, onchange: () => { state[key] = input.checked; fillAll(); drawAll(); } });
  input.checked = state[key];
  return element('label', { class: 'tick' }, input, text);
}

function selector(legend, options, value, choose) {
  const node = element('select', { onchange: () => choose(node.value) }, ...options.map(([key, text]) => {
    const option = element('option', { value: key }, text);
    option.selected = key === value;
    return option;
  }));
  return element('label', { class: 'pick' }, legend, ' ', node);
}

function fillPlaces() {
  const bar = byId('places');
  const options = (names) => names.map((n) => [n, n || 'unnamed']);
  const choose = (key) => (value) => { state[key] = value; settle(); fillAll(); drawAll(); };
  const rows = [];
  // A few are buttons; many would fill the screen.
  const pick = (key, legend, names) => (names.length > 6
    ? selector(legend, options(names), state[key], choose(key))
    : segmented(key, legend, options(names), state[key], choose(key)));
  if (tasks.length > 1) rows.push(pick('task', 'Task', tasks));
  const there = models.filter((m) => placed.some((r) => (r.model ?? '') === m && (r.task ?? '') === state.task));
  if (there.length > 1) rows.push(pick('model', there.length > 6 ? 'Model or run' : 'Model', there));
  bar.replaceChildren(...rows);
  bar.hidden = !rows.length;
}

function fillCurvesControls() {
  const box = byId('curves-controls');
  if (!box) return;
  const options = Object.entries(AXES).map(([key, axis]) => [key, axis.name]);
  box.replaceChildren(
    ...(options.length > 1
      ? [segmented('axis', 'Against', options, state.axis, (axis) => { state.axis = axis; fillAll(); drawCurves(); })] : []),
    tick('log scale', 'log'), tick('intervals', 'intervals'),
    ...(records('curves').some((c) => c.law) ? [tick('fitted laws', 'laws')] : []),
  );
}

// The strategies of this task and model, highest last point first: the order of the lines' ends.
function fillLegend() {
  const box = byId('curves-legend');
  if (!box) return;
  const last = (c) => pointsOn(c, state.axis).at(-1)?.accuracy ?? -1;
  const names = distinct(curvesHere().sort((a, b) => last(b) - last(a)).map(labelOf));
  const all = (hide) => () => { state.hidden = new Set(hide ? labels : []); drawAll(); };
  box.replaceChildren(...names.map((label) => chip(label)), ...(names.length > 2 ? [
    element('button', { type: 'button', class: 'plain', onclick: all(false) }, 'show all'),
    element('button', { type: 'button', class: 'plain', onclick: all(true) }, 'hide all'),
    element('span', { class: 'hint' }, 'Point at a name to single it out; double-click for it alone.'),
  ] : []));
}

function chip(label) {
  const focus = (value) => () => { if (state.focus !== value) { state.focus = value; drawCurves(); } };
  const drawn = curvesHere().some((c) => labelOf(c) === label && pointsOn(c, state.axis).length);
  return element('button', {
    type: 'button', class: drawn ? 'chip' : 'chip absent', 'data-label': label, 'aria-pressed': String(visible(label)),
    onclick: () => { if (!state.hidden.delete(label)) state.hidden.add(label); drawAll(); },
    ondblclick: () => { state.hidden = new Set(labels.filter((l) => l !== label)); drawAll(); },
    onpointerenter: focus(label), onpointerleave: focus(null),
  }, swatch(label), label, isBound(label) ? boundMark(label) : null);
}

const levelsOfDraws = () => levelsHere().filter((r) => ofDraws(labelOf(r)));
const numbersOf = (rows) => distinct(rows.map((r) => r.n ?? null)).sort((a, b) => a - b);

function fillLevelsControls() {
  const box = byId('levels-controls');
  if (!box) return;
  const options = numbersOf(levelsOfDraws()).map((n) => [n, compact(n)]);
  box.replaceChildren(segmented('levels-n', 'N', options, state.levelsN, (n) => { state.levelsN = n; drawLevels(); }));
  box.hidden = options.length < 2;
}

function fillFrontierControls() {
  const box = byId('frontier-controls');
  if (!box) return;
  const options = Object.entries(COSTS).map(([key, axis]) => [key, axis.name]);
  box.replaceChildren(segmented('frontier-axis', 'Against', options, state.frontierAxis,
    (axis) => { state.frontierAxis = axis; drawFrontier(); }));
  box.hidden = options.length < 2;
}

function fillPairedControls() {
  const box = byId('paired-controls');
  if (!box) return;
  const rows = pairedHere();
  const names = distinct(rows.flatMap((r) => [String(r.a), String(r.b)]));
  const options = numbersOf(rows).map((n) => [n, compact(n)]);
  box.replaceChildren(
    ...(options.length > 1 ? [segmented('paired-n', 'N', options, state.pairedN, (n) => { state.pairedN = n; drawPaired(); })] : []),
    ...(names.length > 2 ? [selector('Compare with', [['', 'all pairs'], ...names.map((n) => [n, n])], state.reference,
      (value) => { state.reference = value; drawPaired(); })] : []),
  );
}

// Choices that the new task and model do not offer fall back to one that they do.
function settle() {
  // A task that the model was not run on is shown for one that was.
  const amount = (m) => placed.filter((r) => (r.model ?? '') === m && (r.task ?? '') === state.task).length;
  if (!amount(state.model)) state.model = models.find(amount) ?? state.model;
  // The largest N at which most strategies were measured.
  const common = (rows) => {
    const count = (n) => rows.filter((r) => (r.n ?? null) === n).length;
    const most = Math.max(...numbersOf(rows).map(count));
    return numbersOf(rows).findLast((n) => count(n) >= 0.7 * most);
  };
  if (!numbersOf(levelsOfDraws()).includes(state.levelsN)) state.levelsN = common(levelsOfDraws());
  if (!numbersOf(pairedHere()).includes(state.pairedN)) state.pairedN = common(pairedHere());
  if (!pairedHere().some((r) => [String(r.a), String(r.b)].includes(state.reference))) state.reference = leader();
}

// Which strategy to compare with at first, once there are too many pairs to read: the one that
// most were compared with, and among those the highest.
function leader() {
  const rows = pairedHere().filter((r) => (r.n ?? null) === state.pairedN);
  const sums = new Map();
  const add = (label, value) => {
    const [pairs, total] = sums.get(String(label)) ?? [0, 0];
    sums.set(String(label), [pairs + 1, total + value]);
  };
  rows.forEach((r) => { add(r.a, r.difference); add(r.b, -r.difference); });
  const order = [...sums].sort(([, a], [, b]) => b[0] - a[0] || b[1] - a[1]);
  return rows.length > 6 ? order[0][0] : '';
}

function filterTables() {
  const filter = (id, keys) => {
    const rows = [...document.querySelectorAll(`#${id} tbody tr`)];
    const fits = (row, some) => some.every((key) => row.dataset[key] === state[key]);
    // A table of means alone has no row of a single run: it then keeps showing the means.
    const used = rows.some((row) => fits(row, keys)) ? keys : ['task'];
    rows.forEach((row) => { row.hidden = !fits(row, used); });
  };
  filter('curves-table', ['task', 'model']);
  filter('laws-table', ['task', 'model']);
  filter('right-table', ['task', 'model']);
  filter('frontier-table', ['task']);
}

function makeSortable(table) {
  table.querySelectorAll('thead th').forEach((head, column) => {
    const button = element('button', { type: 'button', onclick: () => sortBy(table, head, column) }, head.textContent);
    head.replaceChildren(button);
  });
}

function sortBy(table, head, column) {
  const up = head.getAttribute('aria-sort') !== 'ascending';
  table.querySelectorAll('th').forEach((h) => h.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    const [p, q] = [Number(x), Number(y)];
    return Number.isNaN(p) || Number.isNaN(q) ? x.localeCompare(y, 'en', { numeric: true }) : p - q;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
  table.tBodies[0].append(...rows);
}

const CSV_FIELDS = ['n', 'accuracy', 'low', 'high', 'draws', 'tokens_charged', 'flops', 'eflops', 'seconds', 'usd', 'problems'];

function csv() {
  const quote = (v) => (/[",\r\n]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v);
  const text = (v) => (v === null || v === undefined ? '' : quote(typeof v === 'object' ? JSON.stringify(v) : String(v)));
  const lines = [['strategy', 'label', 'params', 'model', 'task', 'estimator', 'oracle', 'scale', ...CSV_FIELDS].join(',')];
  for (const c of records('curves')) {
    for (const p of c.points || []) {
      lines.push([c.strategy, labelOf(c), c.params, c.model, c.task, c.estimator, Boolean(c.oracle), c.scale || 'n',
        ...CSV_FIELDS.map((f) => p[f])].map(text).join(','));
    }
  }
  return `${lines.join('\r\n')}\r\n`;
}

function fillDataControls() {
  const box = byId('data-controls');
  if (!box) return;
  const save = () => {
    const url = URL.createObjectURL(new Blob([csv()], { type: 'text/csv' }));
    element('a', { href: url, download: 'dwell-curves.csv' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  box.replaceChildren(element('button', { type: 'button', id: 'save-csv', onclick: save }, 'Download all as CSV'));
}

function prepareTheme() {
  const button = byId('theme');
  const root = document.documentElement;
  // A page opened from a file may be refused its storage: the choice is then not remembered.
  const stored = (act) => { try { return act(localStorage); } catch { return null; } };
  const chosen = stored((s) => s.getItem('dwell-theme'));
  if (chosen === 'dark' || chosen === 'light') root.dataset.theme = chosen;
  const name = () => { button.textContent = isDark() ? 'Light page' : 'Dark page'; };
  button.hidden = false;
  name();
  button.addEventListener('click', () => {
    root.dataset.theme = isDark() ? 'light' : 'dark';
    stored((s) => s.setItem('dwell-theme', root.dataset.theme));
    name();
    recolour();
  });
  const recolour = () => { fillAll(); drawAll(); };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { name(); recolour(); });
  // Paper is white: print in the light colours, whatever the screen shows.
  let before;
  addEventListener('beforeprint', () => { before = root.dataset.theme; root.dataset.theme = 'light'; recolour(); });
  addEventListener('afterprint', () => {
    if (before) root.dataset.theme = before;
    else delete root.dataset.theme;
    recolour();
  });
}

function prepareCopy() {
  const button = byId('copy-study');
  if (!button || !navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener('click', () => navigator.clipboard.writeText(byId('study-text').textContent).then(
    () => { button.textContent = 'Copied'; },
    () => { button.textContent = 'Not allowed here'; },
  ));
}

// Builds every control anew; the one that had the keyboard keeps it.
function fillAll() {
  const active = document.activeElement?.id;
  fillPlaces();
  fillCurvesControls();
  fillLegend();
  fillLevelsControls();
  fillFrontierControls();
  fillPairedControls();
  filterTables();
  if (active) byId(active)?.focus({ preventScroll: true });
}

function drawAll() {
  document.querySelectorAll('.chip[data-label]').forEach((node) => {
    node.setAttribute('aria-pressed', String(visible(node.dataset.label)));
  });
  drawCurves();
  drawLevels();
  drawFrontier();
  drawPaired();
  drawPlan();
}

function start() {
  state.task = tasks[0] ?? '';
  state.axis = Object.keys(AXES)[0] ?? 'n';
  state.frontierAxis = ['flops', 'tokens', 'usd', 'seconds', 'draws'].find((key) => key in COSTS);
  // Begin with the mean over runs, else with the model that most was measured on.
  const amount = (m) => records('curves').filter((c) => (c.model ?? '') === m).length;
  state.model = [...models].sort((a, b) => means.has(b) - means.has(a) || amount(b) - amount(a))[0] ?? '';
  settle();
  prepareTheme();
  prepareCopy();
  fillDataControls();
  document.querySelectorAll('#curves-table, #laws-table, #frontier-table, #right-table, #plan-table').forEach(makeSortable);
  fillAll();
  drawAll();
  let narrow = isNarrow();
  addEventListener('resize', () => { if (narrow !== isNarrow()) { narrow = isNarrow(); drawAll(); } });
  document.documentElement.dataset.charts = 'drawn';
}

start();
