// Accuracy against cost for several models: where a small model with more draws is the better buy.

// Every point of every model that has the chosen cost, cheapest first, marked where nothing
// cheaper is as accurate. Means over runs are no model, and oracles no method.
function frontierHere() {
  const { key } = COSTS[state.frontierAxis];
  const rows = records('curves')
    .filter((c) => (c.task ?? '') === state.task && !c.oracle && !c.mean_over_runs)
    .flatMap((c) => (c.points || []).map((p) => ({ ...p, model: c.model ?? '', label: labelOf(c), x: p[key] })))
    .filter((r) => r.x > 0 && isNumber(r.accuracy) && visible(r.label))
    .sort((a, b) => a.x - b.x || b.accuracy - a.accuracy);
  let best = -1;
  for (const row of rows) {
    row.leads = row.accuracy > best;
    best = Math.max(best, row.accuracy);
  }
  return rows;
}

function frontierText(r) {
  const size = isNumber(sizes.get(r.model)) ? ` (${compact(sizes.get(r.model))} parameters)` : '';
  return `<b>${plain(r.model)}</b>${size}<br>${plain(r.label)}${atBudget(r.label, r.n)}`
    + `<br>accuracy ${percent(r.accuracy)} ${interval(r.low, r.high)}<br>${costText(r)}`
    + `${r.leads ? '<br>on the frontier' : ''}`;
}

function drawFrontier() {
  if (!byId('frontier') || !state.frontierAxis) return;
  const rows = frontierHere();
  const best = rows.filter((r) => r.leads);
  const all = distinct(rows.map((r) => r.model)).sort(bySize);
  // Of many runs only those on the frontier are told apart.
  const named = all.length > 8 ? all.filter((m) => best.some((r) => r.model === m)) : all;
  const style = (model) => {
    const i = named.indexOf(model);
    return { color: hue([5, 4, 0, 1, 2, 3, 6, 7][i % 8]), symbol: SYMBOLS[i % SYMBOLS.length] };
  };
  const others = rows.filter((r) => !named.includes(r.model));
  const traces = [
    ...(others.length ? [pointsTrace(others, { size: 4.5, color: colour('line'), opacity: 0.6 })] : []),
    ...named.flatMap((model) => modelTraces(model, rows, style(model))),
    {
      type: 'scatter', mode: 'lines', x: best.map((r) => r.x), y: best.map((r) => r.accuracy),
      line: { color: colour('ink'), width: 1.6, shape: 'hv' }, hoverinfo: 'skip',
    },
    {
      ...pointsTrace(best, {
        size: 11, symbol: best.map((r) => style(r.model).symbol),
        color: best.map((r) => style(r.model).color), line: { color: colour('ink'), width: 1.5 },
      }),
      error_y: state.intervals ? { ...errorBars(best, colour('ink')), thickness: 0.9, width: 3 } : undefined,
    },
  ];
  const x = { title: COSTS[state.frontierAxis].title, type: 'log', ...logTicks(rows.map((r) => r.x)) };
  const y = { title: 'accuracy', range: accuracyRange(rows.flatMap((r) => [r.accuracy, ...(r.leads ? [r.low, r.high] : [])])) };
  show('frontier-chart', traces, layout(x, y, { uirevision: `${state.task} ${state.frontierAxis}` }), isNarrow() ? 380 : 460);
  byId('frontier-legend').replaceChildren(...named.map((model) => element(
    'span', { class: 'chip still' }, modelSwatch(style(model)), model,
    isNumber(sizes.get(model)) ? element('small', {}, ` ${compact(sizes.get(model))} parameters`) : null,
  )), element('span', { class: 'chip still' }, stepSwatch(colour('ink')), 'frontier'),
  ...(others.length ? [element('span', { class: 'hint' }, `${all.length - named.length} other runs in grey`)] : []));
  const note = noteOn(state.frontierAxis);
  byId('frontier-caption').textContent = note ? `${COSTS[state.frontierAxis].name}: ${note}.` : '';
}

function pointsTrace(rows, marker) {
  return {
    type: 'scatter', mode: 'markers', x: rows.map((r) => r.x), y: rows.map((r) => r.accuracy), marker,
    text: rows.map(frontierText), hovertemplate: '%{text}<extra></extra>',
  };
}

function modelTraces(model, rows, { color, symbol }) {
  const mine = rows.filter((r) => r.model === model);
  return distinct(mine.map((r) => r.label)).map((label) => ({
    ...pointsTrace(mine.filter((r) => r.label === label), { symbol, size: 6.5, color, opacity: 0.75 }),
    mode: 'lines+markers', line: { color: faded(color, 0.4), width: 1.2 },
  }));
}

function modelSwatch({ color, symbol }) {
  return element(
    'svg:svg', { viewBox: '-7 -7 14 14', width: 14, height: 14, 'aria-hidden': 'true' },
    element('svg:path', { d: markerPath(symbol), fill: color }),
  );
}

function stepSwatch(color) {
  return element(
    'svg:svg', { viewBox: '0 0 22 12', width: 22, height: 12, 'aria-hidden': 'true' },
    element('svg:path', { d: 'M0 10H8V6H15V2H22', fill: 'none', stroke: color, 'stroke-width': 1.6 }),
  );
}
