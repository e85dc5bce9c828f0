// Accuracy against FLOPs for several models: where a small model with more draws is the better buy.

function frontierHere() {
  return records('frontier').filter((r) => (r.task ?? '') === state.task && isNumber(r.accuracy) && r.flops > 0);
}

function frontierText(r) {
  const size = isNumber(r.num_parameters) ? ` (${compact(r.num_parameters)} parameters)` : '';
  return `<b>${plain(r.model)}</b>${size}<br>${plain(labelOf(r))}${atBudget(labelOf(r), r.n)}`
    + `${isBound(labelOf(r)) ? ', upper bound' : ''}<br>accuracy ${percent(r.accuracy)} ${interval(r.low, r.high)}`
    + `<br>${compact(r.flops)}FLOP · ${compact(r.tokens_charged)} tokens`
    + `${r.on_frontier ? '<br>on the frontier' : ''}`;
}

function drawFrontier() {
  if (!byId('frontier')) return;
  const rows = frontierHere().filter((r) => visible(labelOf(r)));
  const names = distinct(records('frontier').map((r) => r.model)).sort(bySize);
  const style = (model) => {
    const i = names.indexOf(model);
    return { color: hue([5, 4, 0, 1, 2, 3, 6, 7][i % 8]), symbol: SYMBOLS[i % SYMBOLS.length] };
  };
  const traces = names.flatMap((model) => modelTraces(model, rows, style(model)));
  const best = rows.filter((r) => r.on_frontier).sort((a, b) => a.flops - b.flops);
  traces.push({
    type: 'scatter', mode: 'lines', x: best.map((r) => r.flops), y: best.map((r) => r.accuracy),
    line: { color: colour('ink'), width: 1.6, shape: 'hv' }, hoverinfo: 'skip',
  }, {
    type: 'scatter', mode: 'markers', x: best.map((r) => r.flops), y: best.map((r) => r.accuracy),
    marker: {
      size: 11, symbol: best.map((r) => style(r.model).symbol),
      color: best.map((r) => style(r.model).color), line: { color: colour('ink'), width: 1.5 },
    },
    error_y: state.intervals ? { ...errorBars(best, colour('ink')), thickness: 0.9, width: 3 } : undefined,
    text: best.map(frontierText), hovertemplate: '%{text}<extra></extra>',
  });
  const x = { title: 'FLOPs per problem', type: 'log', ...logTicks(rows.map((r) => r.flops)) };
  const y = { title: 'accuracy', range: accuracyRange(rows.flatMap((r) => [r.accuracy, ...(r.on_frontier ? [r.low, r.high] : [])])) };
  show('frontier-chart', traces, layout(x, y, { uirevision: state.task }), isNarrow() ? 380 : 460);
  byId('frontier-legend').replaceChildren(...names.map((model) => element(
    'span', { class: 'chip still' }, modelSwatch(style(model)), model,
    isNumber(sizes.get(model)) ? element('small', {}, ` ${compact(sizes.get(model))} parameters`) : null,
  )), element('span', { class: 'chip still' }, stepSwatch(), 'frontier'));
}

function modelTraces(model, rows, { color, symbol }) {
  const mine = rows.filter((r) => r.model === model);
  return distinct(mine.map(labelOf)).map((label) => {
    const points = mine.filter((r) => labelOf(r) === label).sort((a, b) => a.flops - b.flops);
    return {
      type: 'scatter', mode: 'lines+markers', x: points.map((r) => r.flops), y: points.map((r) => r.accuracy),
      line: { color: faded(color, 0.4), width: 1.2, dash: isBound(label) ? 'dot' : 'solid' },
      marker: { symbol, size: 6.5, color, opacity: 0.75 },
      text: points.map(frontierText), hovertemplate: '%{text}<extra></extra>',
    };
  });
}

function modelSwatch({ color, symbol }) {
  return element(
    'svg:svg', { viewBox: '-7 -7 14 14', width: 14, height: 14, 'aria-hidden': 'true' },
    element('svg:path', { d: markerPath(symbol), fill: color }),
  );
}

function stepSwatch() {
  return element(
    'svg:svg', { viewBox: '0 0 22 12', width: 22, height: 12, 'aria-hidden': 'true' },
    element('svg:path', { d: 'M0 10H8V6H15V2H22', fill: 'none', stroke: colour('ink'), 'stroke-width': 1.6 }),
  );
}
