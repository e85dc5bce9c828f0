// The plan's promise at each budget, beside the best fixed choice at the same budget.

function drawPlan() {
  if (!byId('plan-chart')) return;
  const { plan } = results;
  const points = (plan.frontier || []).filter((p) => isNumber(p.cost) && isNumber(p.accuracy)).sort((a, b) => a.cost - b.cost);
  const fixed = points.map((p) => ({ ...p.fixed, label: p.fixed?.label ?? '' })).filter((p) => isNumber(p.cost) && isNumber(p.accuracy));
  const unit = plan.goal?.unit ?? 'cost';
  const color = hue(0);
  const text = (p) => `<b>${plain(p.label ?? '')}</b><br>accuracy ${percent(p.accuracy)}`
    + `${isNumber(p.low) ? ` ${interval(p.low, p.high)}` : ''}<br>${unit === 'usd' ? dollars(p.cost) : `${compact(p.cost)} ${plain(unit)}`}`;
  const line = (rows, style) => ({
    type: 'scatter', mode: 'lines+markers', x: rows.map((p) => p.cost), y: rows.map((p) => p.accuracy),
    text: rows.map(text), hovertemplate: '%{text}<extra></extra>', ...style,
  });
  const sure = points.filter((p) => isNumber(p.low) && isNumber(p.high));
  const promised = isNumber(plan.promise?.cost) && isNumber(plan.promise?.accuracy) ? [{ ...plan.promise, label: 'the promise' }] : [];
  const traces = [
    ...(sure.length > 1 ? [band(sure.map((p) => p.cost), sure.map((p) => p.low), sure.map((p) => p.high), color, 0.14)] : []),
    line(fixed, { line: { color: colour('muted'), width: 1.6, dash: 'dash' }, marker: { color: colour('muted'), size: 7, symbol: 'square' } }),
    line(points, { line: { color, width: 2 }, marker: { color, size: 8 } }),
    line(promised, { mode: 'markers', marker: { symbol: 'circle-open', size: 18, color: colour('ink'), line: { width: 2 } } }),
  ];
  const x = { title: `${unit} per question`, type: 'log', ...logTicks([...points, ...fixed].map((p) => p.cost)) };
  const y = { title: 'accuracy', range: accuracyRange([...points, ...fixed].flatMap((p) => [p.accuracy, p.low, p.high])) };
  show('plan-chart', traces, layout(x, y), isNarrow() ? 340 : 400);
  byId('plan-legend').replaceChildren(
    element('span', { class: 'chip still' }, lawKeyOf(color, ''), 'plan, on questions it was not chosen on'),
    ...(fixed.length ? [element('span', { class: 'chip still' }, lawKeyOf(colour('muted'), '5 3'), 'best fixed choice')] : []),
    ...(promised.length ? [element('span', { class: 'hint' }, 'The ring is the promise.')] : []),
  );
}

const lawKeyOf = (stroke, dashes) => keyMark(element('svg:path', { d: 'M0 7H22', stroke, 'stroke-width': 2, 'stroke-dasharray': dashes }));
