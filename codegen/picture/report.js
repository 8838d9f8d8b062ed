/* The report page answers a pointer and the keyboard: what lies under a place of a chart, and a closer look at the
 * arena. Charts are there without it. Text goes into the page as text, never as markup. */
'use strict';
(() => {
  const data = JSON.parse(document.getElementById('script').textContent);
  const tip = document.getElementById('tip'), SVG = 'http://www.w3.org/2000/svg', PLANE = 10000, MILLION = 1e6;
  const steps = data.begin.length - 1, buffers = data.buffers.length / 6;
  document.documentElement.classList.add('js');

  /* -- words -- */
  const bytesText = bytes => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++) bytes /= 1024;
    return (unit ? bytes.toFixed(2) : bytes) + ' ' + units[unit];
  };
  const secondsText = s => s < 1e-3 ? (s * 1e6).toFixed(1) + ' \u00b5s' : s < 1 ? (s * 1e3).toFixed(2) + ' ms' : s.toFixed(3) + ' s';
  /* "h.*.mlp.fc" in block 3 is "h.3.mlp.fc" */
  const nameText = (name, block) => {
    if (block < 0) return data.names[name];
    const whole = data.blocks[block], general = whole.replace(/[^.]*$/, '*');
    return data.names[name].replace(general, () => whole);
  };
  const stepText = s => s < steps
    ? 'step ' + s + ': ' + data.kinds[data.steps[3 * s]] + ' ' + nameText(data.steps[3 * s + 1], data.steps[3 * s + 2])
    : 'the end of the step';
  const timeText = s => secondsText(data.begin[s] / MILLION * data.seconds);

  /* -- the tip: beside a place of the window -- */
  const showTip = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), wide = document.documentElement.clientWidth;
    const left = x + 16 + box.width > wide ? x - 16 - box.width : x + 16;
    tip.style.left = Math.max(4, Math.min(left, wide - box.width - 4)) + 'px';
    tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - box.height - 4)) + 'px';
  };
  const hideTip = () => {
    tip.hidden = true;
    document.querySelectorAll('.cursor').forEach(line => line.remove());
    document.querySelectorAll('.spot').forEach(spot => spot.setAttribute('visibility', 'hidden'));
    document.querySelectorAll('.spotted').forEach(cell => cell.classList.remove('spotted'));
  };

  /* -- time: the same moment in every chart that shows it -- */
  const timed = [...document.querySelectorAll('.timed')];
  const showMoment = share => timed.forEach(chart => {
    const view = chart.view || {x: 0, width: 1}, at = (share - view.x) / view.width;
    let line = chart.querySelector(':scope > .cursor');
    if (!line) {
      line = document.createElementNS(SVG, 'line');
      line.setAttribute('class', 'cursor');
      line.setAttribute('y2', '100%');
      chart.append(line);
    }
    line.setAttribute('visibility', at >= 0 && at <= 1 ? 'visible' : 'hidden');
    for (const end of ['x1', 'x2']) line.setAttribute(end, 100 * at + '%');
  });
  const stepAt = share => {
    let low = 0, high = steps;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (data.begin[middle] <= share * MILLION) low = middle; else high = middle;
    }
    return low;
  };
  const inChart = (chart, event) => {
    const box = chart.getBoundingClientRect();
    return {x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height};
  };
  const outside = place => place.x < 0 || place.x > 1 || place.y < 0 || place.y > 1;

  /* -- memory over the step -- */
  const memory = document.getElementById('memory-chart'), width = 2 + data.categories.length;
  const columns = data.skyline.length / width;
  const columnAt = share => {
    let found = 0;
    while (found + 1 < columns && data.skyline[(found + 1) * width] <= share * data.columns) found++;
    return found;
  };
  const showColumn = (column, x, y) => {
    const row = data.skyline.slice(column * width, column * width + width), step = row[1];
    const live = data.categories.map((name, i) => [name, row[2 + i]]).filter(part => part[1] > 0).reverse();
    const total = live.reduce((sum, part) => sum + part[1], 0);
    showMoment((row[0] + .5) / data.columns);
    showTip(stepText(step) + '\nat ' + timeText(step) + ', ' + bytesText(total) + ' live\n' +
      live.map(part => part[0] + ' ' + bytesText(part[1])).join('\n'), x, y);
  };
  memory.addEventListener('pointermove', event => {
    const place = inChart(memory, event);
    if (outside(place)) hideTip(); else showColumn(columnAt(place.x), event.clientX, event.clientY);
  });
  let column = 0;
  const keys = {ArrowLeft: -1, ArrowRight: 1, PageUp: -25, PageDown: 25, Home: -columns, End: columns};
  memory.addEventListener('keydown', event => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    column = Math.max(0, Math.min(columns - 1, column + keys[event.key]));
    const box = memory.getBoundingClientRect();
    showColumn(column, box.left + box.width * data.skyline[column * width] / data.columns, box.top + box.height / 2);
  });

  /* -- the arena -- */
  const arena = document.getElementById('arena-chart'), plane = arena.querySelector('.plane');
  /* what lies in a buffer, one after the other */
  const names = Array.from({length: buffers}, (_, b) => [nameText(data.buffers[6 * b], data.buffers[6 * b + 1])]);
  for (let i = 0; i < data.handovers.length; i += 4)
    names[data.handovers[i]].push(nameText(data.handovers[i + 2], data.handovers[i + 3]));
  const buffer = b => ({name: names[b].join(', then in its place\n'), offset: data.buffers[6 * b + 2],
    bytes: data.buffers[6 * b + 3], from: data.buffers[6 * b + 4], to: data.buffers[6 * b + 5]});
  const heightOf = bytes => {
    const {base, top, share} = data.scale;
    return bytes <= base ? share * bytes / (base || 1) : share + (1 - share) * (bytes - base) / (top - base);
  };
  const boxOf = b => {
    const {offset, bytes, from, to} = buffer(b);
    const x = data.begin[from] / MILLION, right = data.begin[to] / MILLION;
    const y = 1 - heightOf(offset + bytes), bottom = 1 - heightOf(offset);
    return {x, y, width: Math.max(right - x, 1 / PLANE), height: Math.max(bottom - y, 1 / PLANE)};
  };
  const boxes = Array.from({length: buffers}, (_, b) => boxOf(b));
  arena.view = {x: 0, y: 0, width: 1, height: 1};
  const spot = document.createElementNS(SVG, 'rect');
  spot.setAttribute('class', 'spot');
  spot.setAttribute('visibility', 'hidden');
  plane.append(spot);
  let chosen = -1;
  const showBuffer = (b, x, y) => {
    chosen = b;
    const {name, offset, bytes, from, to} = buffer(b), box = boxes[b];
    for (const side of ['x', 'y', 'width', 'height']) spot.setAttribute(side, box[side] * PLANE);
    spot.setAttribute('visibility', 'visible');
    const life = from === 0 && to >= steps ? 'always there'
      : 'from step ' + from + ' (' + timeText(from) + ') until before step ' + to + ' (' + timeText(to) + ')';
    showTip(name + '\n' + bytesText(bytes) + ' at ' + offset.toLocaleString('en') + '\n' + life, x, y);
  };
  const bufferAt = (x, y) => {
    let best = -1;
    boxes.forEach((box, b) => {
      if (x < box.x || x > box.x + box.width || y < box.y || y > box.y + box.height) return;
      if (best < 0 || box.width * box.height < boxes[best].width * boxes[best].height) best = b;
    });
    return best;
  };
  const inView = place => ({x: arena.view.x + place.x * arena.view.width, y: arena.view.y + place.y * arena.view.height});
  let drag = null;
  arena.addEventListener('pointermove', event => {
    const place = inChart(arena, event);
    if (drag) {
      setView(drag.view.x - (place.x - drag.place.x) * drag.view.width, drag.view.y - (place.y - drag.place.y) * drag.view.height,
        drag.view.width);
      return;
    }
    const {x, y} = inView(place), b = outside(place) ? -1 : bufferAt(x, y);
    if (b < 0) { hideTip(); return; }
    showMoment(x);
    showBuffer(b, event.clientX, event.clientY);
  });
  /* the nearest buffer whose middle lies in a direction */
  const neighbour = (dx, dy) => {
    const middle = b => ({x: boxes[b].x + boxes[b].width / 2, y: boxes[b].y + boxes[b].height / 2});
    if (chosen < 0) return bufferAt(.5, .5) < 0 ? 0 : bufferAt(.5, .5);
    const here = middle(chosen);
    let best = chosen, least = Infinity;
    for (let b = 0; b < buffers; b++) {
      const there = middle(b), along = (there.x - here.x) * dx + (there.y - here.y) * dy;
      const across = Math.abs((there.x - here.x) * dy) + Math.abs((there.y - here.y) * dx);
      if (along <= 1e-9 || along + 3 * across >= least) continue;
      least = along + 3 * across;
      best = b;
    }
    return best;
  };
  const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  const showChosen = () => {
    const box = boxes[chosen], view = arena.view, chart = arena.getBoundingClientRect();
    const x = box.x + Math.min(box.width / 2, .02), y = box.y + box.height / 2;
    if (x < view.x || x > view.x + view.width || y < view.y || y > view.y + view.height)
      setView(x - view.width / 2, y - view.height / 2, view.width);
    showBuffer(chosen, chart.left + chart.width * (x - arena.view.x) / arena.view.width,
      chart.top + chart.height * (y - arena.view.y) / arena.view.height);
  };
  arena.addEventListener('keydown', event => {
    const direction = arrows[event.key];
    if (direction) {
      chosen = neighbour(...direction);
      showChosen();
    } else if (event.key === '+' || event.key === '=' || event.key === '-') {
      zoom(event.key === '-' ? 1 / 1.5 : 1.5, chosen < 0 ? {x: .5, y: .5} : boxes[chosen]);
    } else if (event.key === '0' || event.key === 'Escape') {
      setView(0, 0, 1);
    } else {
      return;
    }
    event.preventDefault();
  });

  /* -- a closer look: part of the plane, over the whole chart -- */
  const closer = document.createElement('p');
  closer.className = 'closer';
  arena.after(closer);
  const bytesAt = y => {
    const {base, top, share} = data.scale, up = 1 - y;
    return Math.max(0, up <= share ? up / (share || 1) * base : base + (up - share) / (1 - share) * (top - base));
  };
  function setView(x, y, size) {
    size = Math.max(1 / 400, Math.min(1, size));
    const fit = at => Math.max(0, Math.min(1 - size, at));
    arena.view = {x: fit(x), y: fit(y), width: size, height: size};
    const view = arena.view;
    plane.setAttribute('viewBox', [view.x, view.y, size, size].map(part => part * PLANE).join(' '));
    arena.classList.toggle('zoomed', size < 1);
    arena.style.touchAction = size < 1 ? 'none' : '';
    closer.textContent = size === 1 ? '' : 'from ' + secondsText(view.x * data.seconds) + ' to ' +
      secondsText((view.x + size) * data.seconds) + ', ' + bytesText(bytesAt(view.y + size)) + ' to ' + bytesText(bytesAt(view.y));
  }
  const zoom = (factor, at) => {
    const view = arena.view, size = Math.max(1 / 400, Math.min(1, view.width / factor));
    setView(at.x - (at.x - view.x) * size / view.width, at.y - (at.y - view.y) * size / view.height, size);
  };
  arena.addEventListener('wheel', event => {
    if (!event.ctrlKey && !event.metaKey) return; /* the page scrolls */
    event.preventDefault();
    zoom(Math.exp(-event.deltaY / 200), inView(inChart(arena, event)));
  }, {passive: false});
  arena.addEventListener('dblclick', event => zoom(event.shiftKey ? .5 : 2, inView(inChart(arena, event))));
  arena.addEventListener('pointerdown', event => {
    if (arena.view.width === 1) return;
    drag = {place: inChart(arena, event), view: arena.view};
    arena.setPointerCapture(event.pointerId);
    hideTip();
  });
  for (const end of ['pointerup', 'pointercancel']) arena.addEventListener(end, () => { drag = null; });
  document.querySelectorAll('button[data-zoom]').forEach(button => button.addEventListener('click', () => {
    const factor = +button.dataset.zoom, view = arena.view;
    if (!factor) setView(0, 0, 1); else zoom(factor, {x: view.x + view.width / 2, y: view.y + view.height / 2});
  }));

  /* -- what has a title of its own: cells of layers, plans over budgets -- */
  const said = new Map();
  document.querySelectorAll('main title').forEach(title => {
    const shape = title.parentNode;
    said.set(shape, title.textContent);
    title.remove();
  });
  document.addEventListener('pointermove', event => {
    if (said.has(event.target)) showTip(said.get(event.target), event.clientX, event.clientY);
    else if (!event.target.closest('.timed')) hideTip();
  });
  document.querySelectorAll('.cellwise').forEach(region => {
    const rows = [...region.querySelectorAll('.strip')].map(strip => [...strip.querySelectorAll('rect')]);
    let row = 0, cell = -1;
    region.addEventListener('keydown', event => {
      const direction = arrows[event.key];
      if (!direction || !rows.length) return;
      event.preventDefault();
      row = Math.max(0, Math.min(rows.length - 1, row + (cell < 0 ? 0 : direction[1])));
      cell = Math.max(0, Math.min(rows[row].length - 1, cell + direction[0]));
      const shape = rows[row][cell];
      hideTip();
      shape.classList.add('spotted');
      shape.scrollIntoView({block: 'nearest'});
      const box = shape.getBoundingClientRect();
      showTip(said.get(shape), box.left + box.width / 2, box.bottom);
    });
  });

  timed.forEach(chart => chart.addEventListener('pointerleave', hideTip));
  document.addEventListener('keydown', event => { if (event.key === 'Escape') hideTip(); });
  document.addEventListener('focusout', hideTip);
  document.addEventListener('scroll', () => { if (!document.querySelector('.spotted')) hideTip(); }, {passive: true});
  [memory, arena].forEach(chart => chart.setAttribute('tabindex', '0'));
})();
