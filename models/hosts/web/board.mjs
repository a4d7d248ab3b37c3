// Draws a board from its game's own description (Layout, in numzero/games/boards/layout.py), and hears what is pressed.
// Knows no rules: what may be played and what lies where it is told.

const U = 100; // a cell, in units of the drawing
const LOW = 0.866 * U; // from one row of hexes to the next
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const PIECES = {
  discs: '<circle r="41" /><circle class="shine" r="28" />',
  marks: ['<path class="stroke" d="M-29 -29l58 58M29 -29l-58 58" />', '<circle class="stroke" r="31" />'],
  pawns: '<path d="M-27 34q0 -7 8 -9q9 -14 9 -28a18 18 0 1 1 20 0q0 14 9 28q8 2 8 9z" />',
};

const svg = (name, attributes = {}, inside = "") => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (inside) made.innerHTML = inside;
  return made;
};
const html = (name, attributes = {}) => Object.assign(document.createElement(name), attributes);
const signed = (value) =>
  (Math.abs(value) < 0.005 ? "" : value < 0 ? "−" : "+") + Math.abs(value).toFixed(2).replace("1.00", "1");

/** A picture of a player's piece: to stand in text. */
export function pieceIcon(layout, player) {
  const made = svg("svg", {
    class: `icon stone ${layout.colours[player]} ${layout.pieces}`,
    viewBox: "-50 -50 100 100",
  });
  made.innerHTML = shape(layout, player);
  return made;
}

function shape(layout, player) {
  const found = PIECES[layout.pieces];
  return Array.isArray(found) ? found[player] : found;
}

/**
 * A board in `root`. `onAction` is called with the action that a person chose. The board's `show` takes
 * { cells, player, legal, last, won, mine, over, thought, ghosts }: last and won are lists of cells; mine, whether a person
 * is to move; thought null, or { visits, q, action, by }; ghosts, a list of { player, place, number }.
 */
export function makeBoard(root, layout, names, onAction) {
  const { rows, columns, places } = layout;
  const size = sizes(layout);
  const isDense = size[2] > 9.5 * U; // too small on a phone for two lines in a cell
  const spots = [...Array(rows * columns).keys()].map((cell) => middle(layout, cell));
  const drawing = svg("svg", { viewBox: size.join(" "), "aria-hidden": "true" });
  const layers = Object.fromEntries(
    ["under", "stones", "over", "last", "ghosts", "visits"].map((name) => [name, svg("g", { class: name })]),
  );
  layers.under.innerHTML = ground(layout, spots);
  layers.over.innerHTML = front(layout, spots);
  drawing.append(layers.under, layers.stones, layers.over, layers.last, layers.ghosts, layers.visits);
  const grid = html("div", { role: "grid", className: "grid" });
  grid.ariaLabel = `Board. Arrow keys move, Enter plays${names.some((name) => name.length === 1) ? ", so does a move's number" : ""}.`;
  const buttons = makeButtons(grid, layout, size, spots);
  root.className = `board ${layout.cells} ${layout.surface} ${layout.pieces}`;
  root.style.setProperty("--ratio", size[2] / size[3]);
  root.replaceChildren(drawing, grid);

  const stones = Array(rows * columns).fill(null); // what is drawn: { stone, element }
  let view = null; // what was shown last
  let from = null; // the cell that a person took a piece from, until it is put down

  const cellsOf = (action) => places[action] ?? [];
  const legalActions = () => (view?.mine ? places.flatMap((_, action) => (view.legal[action] ? [action] : [])) : []);
  const isMove = layout.places.some((place) => place.length === 2);
  const column = (cell) => cell % columns;

  function actionsAt(cell) {
    if (layout.cells === "columns")
      return legalActions().filter((action) => column(cellsOf(action)[0]) === column(cell));
    return legalActions().filter((action) => cellsOf(action)[0] === cell);
  }

  function press(cell) {
    if (!isMove) {
      const [action] = actionsAt(cell);
      if (action !== undefined) onAction(action);
      return;
    }
    const chosen = from === null ? undefined : actionsAt(from).find((action) => cellsOf(action)[1] === cell);
    const next = chosen === undefined && cell !== from && actionsAt(cell).length ? cell : null;
    from = next;
    if (chosen !== undefined) onAction(chosen);
    else show(view);
  }

  /** Where a stone would lie that a move sets: in a column the lowest empty cell. */
  function landing(action) {
    const place = cellsOf(action);
    if (layout.cells !== "columns" || !place.length) return place.at(-1);
    let cell = place[0];
    while (cell + columns < rows * columns && !view.cells[cell + columns]) cell += columns;
    return cell;
  }

  function show(now) {
    if (!now.mine || now.cells.join() !== view?.cells.join()) from = null;
    view = now;
    showStones();
    root.classList.toggle("done", now.over);
    layers.last.replaceChildren(...now.last.map((cell) => mark(cell, "at")), ...targets());
    layers.ghosts.replaceChildren(...now.ghosts.flatMap(ghost));
    layers.visits.replaceChildren(...(now.thought ? thoughts(now.thought) : []));
    const total = now.thought ? sum(now.thought.visits) : 0;
    buttons.forEach((button, cell) => describe(button, cell, total));
  }

  function showStones() {
    view.cells.forEach((stone, cell) => {
      const shown = stones[cell];
      if (shown?.stone !== stone && (shown || stone)) {
        shown?.element.remove();
        stones[cell] = stone ? { stone, element: setStone(cell, stone - 1) } : null;
      }
      stones[cell]?.element.classList.toggle("won", view.won.includes(cell));
    });
  }

  function setStone(cell, player) {
    const [x, y] = spots[cell];
    const place = svg("g", { transform: `translate(${x} ${y})` });
    place.append(svg("g", { class: `stone ${layout.colours[player]} ${layout.pieces}` }, shape(layout, player)));
    place.style.setProperty("--rows", Math.floor(cell / columns) + 1);
    layers.stones.append(place);
    return place;
  }

  function mark(cell, kind) {
    const [x, y] = spots[cell];
    const stone = view.cells[cell];
    const colour = stone ? `on-${layout.colours[stone - 1]}` : "on-nothing";
    return svg("circle", { class: `${kind} ${colour}`, cx: x, cy: y, r: stone && layout.pieces === "discs" ? 13 : 9 });
  }

  /** The piece in a person's hand, and where it may go. */
  function targets() {
    if (from === null) return [];
    const [x, y] = spots[from];
    const held = svg("rect", { class: "held", x: x - 46, y: y - 46, width: 92, height: 92, rx: 10 });
    return [held, ...actionsAt(from).map((action) => mark(cellsOf(action)[1], "target"))];
  }

  function ghost({ player, place, number }) {
    const [x, y] = spots[place.at(-1)];
    const made = svg("g", {
      class: `ghost stone ${layout.colours[player]} ${layout.pieces}`,
      transform: `translate(${x} ${y})`,
    });
    made.innerHTML = shape(layout, player);
    made.append(svg("text", { class: "number", dy: ".35em" }, String(number)));
    return place.length === 2 ? [arrow(place, "path"), made] : [made];
  }

  function arrow([start, end], kind, width = 8) {
    const [[x1, y1], [x2, y2]] = [spots[start], spots[end]];
    const [dx, dy] = [x2 - x1, y2 - y1].map((part) => part / Math.hypot(x2 - x1, y2 - y1));
    const [tip, neck] = [30, 30 + 14 + 1.4 * width].map((short) => [x2 - short * dx, y2 - short * dy]);
    const side = 8 + 0.9 * width;
    const head = `M${tip}L${neck[0] - side * dy} ${neck[1] + side * dx}L${neck[0] + side * dy} ${neck[1] - side * dx}Z`;
    const line = `M${x1 + 30 * dx} ${y1 + 30 * dy}L${neck}`;
    return svg(
      "g",
      { class: `arrow ${kind}` },
      `<path d="${line}" stroke-width="${width}" /><path class="head" d="${head}" />`,
    );
  }

  function thoughts({ visits, q, action: best, by }) {
    const total = Math.max(1, sum(visits));
    const looked = [...visits.keys()].filter((action) => (visits[action] || action === best) && cellsOf(action).length);
    looked.sort((one, other) => visits[one] - visits[other] || (one === best) - (other === best));
    const told = new Set([best, ...(isDense ? looked.slice(-Math.round((rows * columns) / 12)) : looked)]);
    return looked.map((action) => {
      const share = visits[action] / total;
      const at = landing(action);
      const colour = `${layout.colours[by]} ${action === best ? "best" : ""}`;
      const texts = told.has(action)
        ? labels(String(visits[action]), isDense || Number.isNaN(q[action]) ? "" : signed(q[action]))
        : "";
      if (isMove) {
        const made = svg("g", { class: `visit ${colour}` });
        made.append(arrow(cellsOf(action), "way", 5 + 18 * share));
        return made;
      }
      const [x, y] = spots[at];
      const circle = `<circle r="${15 + 30 * Math.sqrt(share)}" />`;
      return svg("g", { class: `visit ${colour}`, transform: `translate(${x} ${y})` }, circle + texts);
    });
  }

  const labels = (visits, worth) =>
    `<text class="many ${worth ? "" : "alone"}" y="${worth ? -3 : 15}">${visits}</text>` +
    (worth ? `<text class="worth" y="25">${worth}</text>` : "");

  function describe(button, cell, total) {
    const stone = view.cells[cell] ? `${layout.players[view.cells[cell] - 1]}` : "empty";
    const here = view.thought
      ? view.legal.flatMap((may, action) => (may && landing(action) === cell ? [action] : []))
      : [];
    const seen = here.filter((action) => view.thought.visits[action] || action === view.thought.action);
    const worth = (action) => (Number.isNaN(view.thought.q[action]) ? "" : `, worth ${signed(view.thought.q[action])}`);
    const visits = seen.map(
      (action) =>
        `, ${isMove ? `${names[action]} ` : ""}${view.thought.visits[action]} of ${total} visits${worth(action)}`,
    );
    const ghosts = view.ghosts.filter(({ place }) => place.at(-1) === cell);
    const line = ghosts.map(({ player, number }) => `, ${number}. expected: ${layout.players[player]}`);
    button.dataset.stone = view.cells[cell] || "";
    button.ariaLabel = `${cellName(cell)}: ${stone}${view.last.includes(cell) ? ", last move" : ""}${visits.join("")}${line.join("")}`;
    const isTarget = from !== null && actionsAt(from).some((action) => cellsOf(action)[1] === cell);
    button.classList.toggle("target", isTarget);
    button.setAttribute("aria-disabled", String(!isTarget && !actionsAt(cell).length));
    if (isMove) button.ariaPressed = String(cell === from);
    button.parentNode.ariaSelected = isMove ? String(cell === from) : null;
  }

  function cellName(cell) {
    const [row, at] = [Math.floor(cell / columns), column(cell)];
    if (layout.cells === "columns") return `Column ${layout.column_names[at] ?? at + 1}, row ${rows - row} from below`;
    if (layout.row_names.length && layout.column_names.length) return layout.column_names[at] + layout.row_names[row];
    return `Cell ${cell + 1}`;
  }

  let stop = Math.floor(rows / 2) * columns + Math.floor(columns / 2); // the one cell that Tab reaches
  const reach = (cell) => {
    buttons[stop].tabIndex = -1;
    buttons[(stop = cell)].tabIndex = 0;
  };
  reach(stop);
  buttons.forEach((button, cell) => {
    button.addEventListener("click", () => press(cell));
    button.addEventListener("focus", () => reach(cell));
  });
  grid.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && from !== null) {
      from = null;
      show(view);
    }
    const next = neighbour(stop, event.key);
    if (next === null) return;
    event.preventDefault();
    buttons[next].focus();
  });

  /** The cell that a key leads to; itself at the edge, null where the key leads nowhere. */
  function neighbour(cell, key) {
    const [row, at] = [Math.floor(cell / columns), column(cell)];
    if (key === "Home") return row * columns;
    if (key === "End") return (row + 1) * columns - 1;
    if (!ARROWS[key]) return null;
    const [r, c] = [row + ARROWS[key][0], at + ARROWS[key][1]];
    return r >= 0 && r < rows && c >= 0 && c < columns ? r * columns + c : cell;
  }

  return { show, landing };
}

const sum = (numbers) => numbers.reduce((all, each) => all + each, 0);

/** A game without a board, as it shows itself in text. */
export function makeText(root) {
  const text = html("pre", { tabIndex: 0 });
  text.role = "img";
  root.className = "board text";
  root.replaceChildren(text);
  return { show: (view) => (text.textContent = text.ariaLabel = view.text) };
}

// ------------------------------------------------------------------------------------------------------ the drawing

/** x, y, width and height of the drawing, names included. */
function sizes({ cells, rows, columns, row_names, column_names }) {
  const isHex = cells === "hexes";
  const left = row_names.length ? 0.5 * U : 0.12 * U;
  const [top, bottom] = !column_names.length
    ? [0.12 * U, 0.12 * U]
    : isHex
      ? [0.55 * U, 0.12 * U]
      : [0.12 * U, 0.5 * U];
  const width = columns * U + (isHex ? ((rows - 1) * U) / 2 : 0);
  const height = isHex ? (rows - 1) * LOW + 1.155 * U : rows * U;
  return [-left, -top, width + left + 0.12 * U, height + top + bottom];
}

function middle({ cells, columns }, cell) {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  if (cells === "hexes") return [(column + 0.5 + row / 2) * U, row * LOW + 0.5775 * U];
  return [(column + 0.5) * U, (row + 0.5) * U];
}

/** What lies under the stones. */
function ground(layout, spots) {
  const { rows, columns } = layout;
  const [width, height] = [columns * U, rows * U];
  const back = `<rect class="back" x="-4" y="-4" width="${width + 8}" height="${height + 8}" rx="${layout.cells === "columns" ? 26 : 8}" />`;
  if (layout.cells === "columns")
    return (
      rim(layout) +
      spots.map(([x, y]) => `<circle class="hole" cx="${x}" cy="${y}" r="44" />`).join("") +
      nameTexts(layout, spots)
    );
  if (layout.cells === "points") return `${back}${lines(layout)}${dots(layout, spots)}${nameTexts(layout, spots)}`;
  if (layout.cells === "hexes")
    return (
      edges(layout) +
      spots.map((spot) => `<path class="cell" d="${hexagon(spot, 0.985)}" />`).join("") +
      nameTexts(layout, spots)
    );
  const square = ([x, y], cell) => {
    const isDark = (Math.floor(cell / columns) + (cell % columns)) % 2;
    const [inset, round] = layout.surface === "paper" ? [3, 12] : [layout.surface === "felt" ? 1.2 : 0, 0];
    const side = U - 2 * inset;
    return `<rect class="cell ${isDark ? "dark" : ""}" x="${x - side / 2}" y="${y - side / 2}" width="${side}" height="${side}" rx="${round}" />`;
  };
  return back + spots.map(square).join("") + nameTexts(layout, spots);
}

const rim = ({ rows, columns }) =>
  `<rect class="back" x="-8" y="-8" width="${columns * U + 16}" height="${rows * U + 16}" rx="30" />`;

/** What lies over the stones: of a rack the front, with holes. */
function front({ cells, rows, columns }, spots) {
  if (cells !== "columns") return "";
  const hole = ([x, y]) => `M${x - 42} ${y}a42 42 0 1 0 84 0a42 42 0 1 0 -84 0Z`;
  const frame = `M0 0H${columns * U}V${rows * U}H0Z`;
  return `<path class="rack" fill-rule="evenodd" d="${frame}${spots.map(hole).join("")}" />`;
}

function lines({ rows, columns }) {
  const [right, bottom] = [(columns - 0.5) * U, (rows - 0.5) * U];
  const across = [...Array(rows).keys()].map((row) => `M${U / 2} ${(row + 0.5) * U}H${right}`);
  const down = [...Array(columns).keys()].map((column) => `M${(column + 0.5) * U} ${U / 2}V${bottom}`);
  return `<path class="lines" d="${across.join("")}${down.join("")}" />`;
}

/** The dots by which people find their way on a board of lines. */
function dots({ rows, columns }, spots) {
  const along = (count) =>
    count < 7 || count % 2 === 0 ? [] : count < 13 ? [2, (count - 1) / 2, count - 3] : [3, (count - 1) / 2, count - 4];
  const found = along(rows).flatMap((row) => along(columns).map((column) => spots[row * columns + column]));
  return found.map(([x, y]) => `<circle class="dot" cx="${x}" cy="${y}" r="9" />`).join("");
}

function hexagon([x, y], share = 1) {
  const [half, high] = [(share * U) / 2, (share * U) / Math.sqrt(3)];
  return `M${x} ${y - high}l${half} ${high / 2}v${high}l${-half} ${high / 2}l${-half} ${-high / 2}v${-high}Z`;
}

/** The four sides of a board of hexes, in the colours of who joins them. */
function edges({ rows, columns, colours }) {
  const [half, high] = [U / 2, U / Math.sqrt(3)];
  const corner = (row, column) => middle({ cells: "hexes", columns }, row * columns + column);
  const zigzag = (points) => `M${points.map((point) => point.join(" ")).join("L")}`;
  const along = [...Array(columns).keys()];
  const down = [...Array(rows).keys()];
  const at = ([x, y], right, low) => [x + right, y + low];
  const peaks = (cell, low) => [at(cell, -half, low / 2), at(cell, 0, low), at(cell, half, low / 2)];
  const top = along.flatMap((c) => peaks(corner(0, c), -high));
  const bottom = along.flatMap((c) => peaks(corner(rows - 1, c), high));
  const left = down.flatMap((r) => [at(corner(r, 0), -half, -high / 2), at(corner(r, 0), -half, high / 2)]);
  const right = down.flatMap((r) => [
    at(corner(r, columns - 1), half, -high / 2),
    at(corner(r, columns - 1), half, high / 2),
  ]);
  const side = (points, player) => `<path class="edge ${colours[player]}" d="${zigzag(points)}" />`;
  return side(top, 0) + side(bottom, 0) + side(left, 1) + side(right, 1);
}

function nameTexts(layout, spots) {
  const { cells, rows, columns, row_names, column_names } = layout;
  const text = (x, y, name) => `<text class="name" x="${x}" y="${y}" dy=".35em">${name}</text>`;
  const isHex = cells === "hexes";
  const beside = row_names.map((name, row) =>
    text(spots[row * columns][0] - (isHex ? 0.78 : 0.75) * U, spots[row * columns][1], name),
  );
  const below = column_names.map((name, column) => {
    const [x, y] = spots[isHex ? column : (rows - 1) * columns + column];
    return isHex ? text(x - 0.26 * U, y - 0.83 * U, name) : text(x, y + 0.78 * U, name);
  });
  return [...beside, ...below].join("");
}

/** A button for each cell, in rows, over the drawing. */
function makeButtons(grid, layout, [x0, y0, width, height], spots) {
  const { rows, columns, cells } = layout;
  const side = cells === "hexes" ? 0.94 * U : U;
  return [...Array(rows).keys()].flatMap((row) => {
    const line = html("div");
    line.role = "row";
    grid.append(line);
    return [...Array(columns).keys()].map((column) => {
      const [x, y] = spots[row * columns + column];
      const [place, button] = [
        html("div", { className: "place" }),
        html("button", { type: "button", className: "cell", tabIndex: -1 }),
      ];
      place.role = "gridcell";
      const share = (part, whole) => `${(100 * part) / whole}%`;
      Object.assign(place.style, {
        left: share(x - side / 2 - x0, width),
        top: share(y - side / 2 - y0, height),
        width: share(side, width),
        height: share(side, height),
      });
      place.append(button);
      line.append(place);
      return button;
    });
  });
}
