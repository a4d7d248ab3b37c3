// Draws how the agent judged a game, move by move.

const [WIDTH, HEIGHT, LEAST] = [300, 96, 12];
const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

/** Fill `root` with the chart of `values`, a list of [moves played, value for who moves first]; `names` of both players. */
export function drawGraph(root, values, names) {
  const last = Math.max(LEAST, ...values.map(([move]) => move));
  const x = (move) => 6 + ((WIDTH - 12) * move) / last;
  const y = (value) => HEIGHT / 2 - (HEIGHT / 2 - 6) * Math.max(-1, Math.min(1, value));
  const points = values.map(([move, value]) => `${x(move).toFixed(1)} ${y(value).toFixed(1)}`);
  const area =
    values.length > 1
      ? `M${x(values[0][0])} ${HEIGHT / 2}L${points.join("L")}L${x(values.at(-1)[0])} ${HEIGHT / 2}Z`
      : "";
  const half = (name, top) =>
    `<clipPath id="${name}"><rect x="0" y="${top}" width="${WIDTH}" height="${HEIGHT / 2}" /></clipPath>` +
    `<path class="area ${name}" clip-path="url(#${name})" d="${area}" />`;
  const spots = values.map(
    ([move, value]) => `<circle class="spot" cx="${x(move)}" cy="${y(value)}" r="${values.length > 60 ? 1.5 : 2.5}" />`,
  );
  const told = values.map(([move, value]) => `after ${move} ${signed(value)}`).join(", ");
  const label = values.length ? `Value for ${names[0]}, of moves played: ${told}.` : "No judgement yet.";
  root.innerHTML =
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">` +
    `<path class="zero" d="M0 ${HEIGHT / 2}H${WIDTH}" />` +
    (area ? half("above", 0) + half("below", HEIGHT / 2) + `<path class="curve" d="M${points.join("L")}" />` : "") +
    `${spots.join("")}</svg><div class="ends" aria-hidden="true"><span></span><span></span></div>`;
  root.firstChild.ariaLabel = label;
  const [above, below] = root.querySelectorAll(".ends span");
  above.textContent = `↑ ${names[0]}`;
  below.textContent = `↓ ${names[1]}`;
}
