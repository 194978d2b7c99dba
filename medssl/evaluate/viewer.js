"use strict";
// Three planes of a scan that can be scrolled; axes 0, 1, 2 lead to left, posterior and superior.
(async () => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const [NX, NY, NZ] = study.shape;
  const unpack = async (text, differences) => {
    const packed = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
    const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
    if (differences)
      for (let at = 0; at < bytes.length; at++) if (at % NX) bytes[at] += bytes[at - 1];
    return bytes;
  };
  const images = await Promise.all(study.images.map((one) => unpack(one, true)));
  const mask = await unpack(study.mask, false);
  const entropy = study.entropy === null ? null : await unpack(study.entropy, false);
  const colours = study.labels.map((one) => [1, 3, 5].map((at) => parseInt(one.colour.slice(at, at + 2), 16)));
  const shown = study.labels.map(() => true);
  const element = (id) => document.getElementById(id);
  const place = study.largest.slice(); // the slice of each axis
  // across and down are axes of the scan; up says that the second one is drawn from below
  const PLANES = [
    { name: "axial", axis: 2, across: 0, down: 1, up: false },
    { name: "coronal", axis: 1, across: 0, down: 2, up: true },
    { name: "sagittal", axis: 0, across: 1, down: 2, up: true },
  ].filter((plane) => study.letters !== null || plane.name === "axial");
  const LONGEST = 425; // pixels of the longest side
  const size = (axis) => study.shape[axis] * study.spacing[axis];
  const scale = LONGEST / Math.max(...PLANES.flatMap((one) => [size(one.across), size(one.down)]));
  const steps = [1, NX, NX * NY];

  const draw = (plane) => {
    const { canvas, axis, across, down, up } = plane;
    const [wide, high] = [canvas.width, canvas.height];
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(wide, high);
    const values = images[Number(element("channel").value)];
    const bright = Number(element("bright").value), contrast = Number(element("contrast").value);
    const filled = element("filled").checked, outlined = element("outlined").checked;
    const unsure = entropy !== null && element("unsure").checked;
    const base = place[axis] * steps[axis];
    const [nu, nv] = [study.shape[across], study.shape[down]];
    const nearest = (p, n, length) => Math.min(n - 1, Math.floor(((p + 0.5) / length) * n));
    const columns = Array.from({ length: wide }, (_, p) => nearest(p, nu, wide));
    const rows = Array.from({ length: high }, (_, p) => nearest(up ? high - 1 - p : p, nv, high));
    const label = new Uint8Array(wide * high);
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++)
        label[y * wide + x] = mask[base + columns[x] * steps[across] + rows[y] * steps[down]];
    const soft = (x, y) => { // linear between the centres of voxels
      const u = Math.min(nu - 1, Math.max(0, ((x + 0.5) / wide) * nu - 0.5));
      const q = up ? high - 1 - y : y;
      const v = Math.min(nv - 1, Math.max(0, ((q + 0.5) / high) * nv - 0.5));
      const u0 = Math.floor(u), v0 = Math.floor(v), fu = u - u0, fv = v - v0;
      const at = base + u0 * steps[across] + v0 * steps[down];
      const right = u0 + 1 < nu ? steps[across] : 0, below = v0 + 1 < nv ? steps[down] : 0;
      return (values[at] * (1 - fu) + values[at + right] * fu) * (1 - fv)
        + (values[at + below] * (1 - fu) + values[at + below + right] * fu) * fv;
    };
    for (let y = 0; y < high; y++)
      for (let x = 0; x < wide; x++) {
        const p = y * wide + x, found = label[p];
        const grey = (soft(x, y) - 128) * contrast + 128 + bright;
        let colour = [grey, grey, grey];
        if (unsure) {
          const doubt = entropy[base + columns[x] * steps[across] + rows[y] * steps[down]] / 255;
          const hot = [255, 120, 20], share = Math.min(0.85, doubt * 1.2);
          colour = colour.map((one, c) => one * (1 - share) + hot[c] * share);
        }
        if (found && shown[found - 1]) {
          const edge = outlined && [-1, 1, -2, 2].some((d) =>
            (x + d >= 0 && x + d < wide && label[p + d] !== found)
            || (y + d >= 0 && y + d < high && label[p + d * wide] !== found));
          const share = edge ? 1 : filled ? 0.38 : 0;
          colour = colour.map((one, c) => one * (1 - share) + colours[found - 1][c] * share);
        }
        pixels.data.set([...colour, 255], 4 * p);
      }
    context.putImageData(pixels, 0, 0);
    context.strokeStyle = "rgba(150, 220, 255, 0.45)";
    context.beginPath();
    const line = (along, length, n, turned) => {
      const at = ((place[along] + 0.5) / n) * length;
      return turned ? length - at : at;
    };
    if (element("cross").checked && study.letters !== null) {
      const x = line(across, wide, nu, false), y = line(down, high, nv, up);
      context.moveTo(x, 0); context.lineTo(x, high);
      context.moveTo(0, y); context.lineTo(wide, y);
    }
    context.stroke();
    plane.slider.value = place[axis];
    plane.title.textContent = `${plane.name} ${place[axis] + 1} / ${study.shape[axis]}`;
  };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; PLANES.forEach(draw); });
  };
  const go = (axis, to) => {
    place[axis] = Math.max(0, Math.min(study.shape[axis] - 1, Math.round(to)));
    redraw();
  };

  for (const plane of PLANES) {
    const view = document.createElement("figure");
    view.className = "view";
    view.innerHTML = `<figcaption></figcaption><div class="frame" tabindex="0"><canvas></canvas></div>
      <input type="range" min="0" step="1" aria-label="Slice, ${plane.name}">`;
    element("views").append(view);
    const frame = view.querySelector(".frame");
    plane.canvas = view.querySelector("canvas");
    plane.slider = view.querySelector("input");
    plane.title = view.querySelector("figcaption");
    plane.canvas.id = plane.name;
    plane.canvas.width = Math.max(2, Math.round(size(plane.across) * scale));
    plane.canvas.height = Math.max(2, Math.round(size(plane.down) * scale));
    plane.slider.max = study.shape[plane.axis] - 1;
    plane.slider.hidden = study.shape[plane.axis] === 1;
    plane.slider.addEventListener("input", () => go(plane.axis, Number(plane.slider.value)));
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      go(plane.axis, place[plane.axis] - Math.sign(event.deltaY));
    }, { passive: false });
    frame.addEventListener("click", (event) => {
      const box = plane.canvas.getBoundingClientRect();
      const u = (event.clientX - box.left) / box.width, v = (event.clientY - box.top) / box.height;
      go(plane.across, u * study.shape[plane.across] - 0.5);
      go(plane.down, (plane.up ? 1 - v : v) * study.shape[plane.down] - 0.5);
    });
    frame.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 1, ArrowRight: 1, PageUp: 10, ArrowDown: -1, ArrowLeft: -1, PageDown: -10 }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      go(plane.axis, place[plane.axis] + by);
    });
    if (study.letters !== null) {
      const [left, right] = study.letters[plane.across];
      const [first, last] = study.letters[plane.down];
      const marks = { left, right, top: plane.up ? last : first, bottom: plane.up ? first : last };
      for (const [side, letters] of Object.entries(marks)) {
        const mark = document.createElement("span");
        mark.className = `mark ${side}`;
        mark.textContent = letters;
        frame.append(mark);
      }
    }
  }

  study.labels.forEach((one, index) => {
    const row = document.createElement("label");
    row.innerHTML = `<input type="checkbox" checked><span class="key"></span>`;
    row.querySelector(".key").style.background = one.colour;
    row.append(one.name);
    row.firstChild.addEventListener("change", (event) => { shown[index] = event.target.checked; redraw(); });
    element("labels").append(row);
  });
  study.channels.forEach((name, index) => element("channel").add(new Option(name, String(index))));
  element("channel").parentElement.hidden = study.channels.length === 1;
  element("unsure").parentElement.hidden = entropy === null;
  element("doubtful").hidden = study.doubtful === null;
  element("cross").parentElement.hidden = study.letters === null;
  for (const id of ["channel", "bright", "contrast", "filled", "outlined", "unsure", "cross"])
    element(id).addEventListener("input", redraw);
  element("largest").addEventListener("click", () => { place.splice(0, 3, ...study.largest); redraw(); });
  element("doubtful").addEventListener("click", () => { place.splice(0, 3, ...study.doubtful); redraw(); });
  document.addEventListener("keydown", (event) => {
    const box = { m: "filled", o: "outlined", u: "unsure", x: "cross" }[event.key];
    if (box === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    element(box).checked = !element(box).checked;
    redraw();
  });
  redraw();
  document.body.dataset.ready = "yes";
})().catch((error) => {
  const place = document.getElementById("views");
  place.textContent = `The pictures cannot be shown by this browser: ${error.message}`;
});
