// The map of the samples: dots on a canvas that move from layer to layer without the server.
//
// `map_points.js` hands over the places of all dots (see explorer/studies/map_points.py), `map_pictures.js` small
// pictures; `data` of this component has what the page has chosen. Back to the page go the picked sample, the layer at
// which the slider was released, and the samples within a lasso.

const MISSING = 65535;
const LIGHT = ["#1f77b4", "#d9620b", "#2a8f2a", "#c92a2a", "#8456b8", "#8c564b", "#d1489f", "#5f6b7a", "#8a8a00", "#0c8fa3"];
const DARK = ["#6cb6f0", "#f0a35e", "#5fcf7a", "#ff8787", "#b99af0", "#c9a08f", "#f29ad6", "#a3adba", "#d6d65c", "#5fd3e3"];
const MARK = { light: "#d9480f", dark: "#ffa94d" };
const GRAY = { light: "#a7afb9", dark: "#56616d" };
const FAINT = 0.13;
const SECONDS_OF_LAYER = [0.12, 0.5]; // least and most
const SECONDS_OF_PLAY = 24;
const REACH = 12; // pixels from a dot within which the pointer is on it
const TOUCH_REACH = 22;
const MOST_PICTURES = 24; // asked for at once
const MOST_DRAWN_PICTURES = 60; // dots in view that become pictures
const PICTURE = 38; // pixels of a picture on the map
const ZOOM = [0.5, 60];

const shared = (globalThis.sampleMaps ??= new EventTarget());
const instances = new WeakMap();

export default function (component) {
  const root = component.parentElement;
  let map = instances.get(root);
  if (!map) instances.set(root, (map = new SampleMap(root)));
  map.update(component);
  return () => {
    map.close();
    instances.delete(root);
  };
}

class SampleMap {
  constructor(root) {
    this.root = root;
    const find = name => root.querySelector(`.${name}`);
    this.parts = {
      canvas: root.querySelector("canvas"), stage: find("stage"), tip: find("tip"), slider: find("slider"),
      name: find("name"), play: find("play"), legend: find("legend"), status: find("status"), color: find("color"),
      search: find("search"), lasso: find("lasso"), zoomIn: find("in"), zoomOut: find("out"), reset: find("reset"),
    };
    this.context = this.parts.canvas.getContext("2d");
    this.view = { zoom: 1, x: 0, y: 0 };
    this.time = 0; // position among the frames
    this.hovered = this.classHovered = -1;
    this.pictures = new Map(); // sample -> {image, x, y, side, url}
    this.missingPictures = new Set();
    this.askedPictures = new Set();
    this.pointers = new Map();
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.takePoints = () => this.readPoints();
    this.takePictures = () => this.readPictures();
    shared.addEventListener("points", this.takePoints);
    shared.addEventListener("pictures", this.takePictures);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.parts.stage);
    this.listen();
  }

  close() {
    shared.removeEventListener("points", this.takePoints);
    shared.removeEventListener("pictures", this.takePictures);
    this.observer.disconnect();
    this.stop();
    cancelAnimationFrame(this.pending);
    this.closed = true;
  }

  // What the page has chosen.
  update({ data, setTriggerValue }) {
    const before = this.data;
    this.data = data;
    this.send = setTriggerValue;
    this.parts.canvas.setAttribute("aria-label", data.alt);
    this.readPoints();
    if (!this.points) return;
    this.readChoice(before);
  }

  readPoints() {
    if (!shared.points || !this.data) return;
    if (this.source !== shared.points) {
      this.source = shared.points;
      this.points = unpack(shared.points);
      this.ready = false;
    }
    if (this.points.token !== this.data.token) return;
    if (!this.ready) this.begin();
  }

  begin() {
    const { points } = this;
    this.ready = true;
    this.indexOf = new Map(Array.from(points.samples, (sample, index) => [sample, index]));
    this.texts = points.ids.map((id, index) => `${id}\n${points.class_names[points.classes[index]]}`.toLowerCase());
    this.hovered = this.classHovered = -1;
    this.pictures.clear();
    this.askedPictures.clear();
    this.missingPictures.clear();
    const count = points.samples.length;
    this.xs = new Float32Array(count);
    this.ys = new Float32Array(count);
    this.colors = new Uint8Array(count);
    this.strength = new Uint8Array(count);
    this.colorOfClass = new Map(points.colored.map((code, number) => [code, number]));
    this.makeFrames();
    this.time = this.frameOf(this.data.layer);
    this.searchFor(this.parts.search.value);
    this.readChoice(null);
  }

  // One frame a layer that was sent, and the chosen layer where that was not among them.
  makeFrames() {
    const { points, data } = this;
    const count = points.samples.length;
    const bytes = Math.ceil(count / 8);
    this.frames = points.layers.map((layer, number) => ({
      layer,
      places: points.positions.subarray(2 * count * number, 2 * count * (number + 1)),
      agrees: points.agrees.subarray(bytes * number, bytes * (number + 1)),
    }));
    if (data.extra && !points.layers.includes(data.layer)) {
      const places = new Uint16Array(decode64(data.extra.positions).buffer);
      this.frames.splice(data.extra.place, 0, { layer: data.layer, places, agrees: decode64(data.extra.agrees) });
    }
    this.parts.slider.max = this.frames.length - 1;
    this.parts.slider.disabled = this.parts.play.disabled = this.frames.length < 2;
  }

  readChoice(before) {
    if (!this.ready) return;
    const { data, points } = this;
    const count = points.samples.length;
    this.nearest = new Int32Array(decode64(data.nearest).buffer);
    this.shown = data.shown ? decode64(data.shown) : null;
    this.inFilter = index => !this.shown || Boolean(this.shown[index >> 3] & (1 << (index & 7)));
    if (before && before.layer !== data.layer) {
      const layer = this.frames[Math.round(this.time)]?.layer;
      this.makeFrames();
      const target = this.frameOf(data.layer);
      if (layer !== data.layer) this.moveTo(target);
      else this.time = target;
    }
    if (!this.moving) this.showTime();
    this.selected = this.indexOf.get(data.selected) ?? -1;
    this.neighbors = data.neighbors.flatMap(sample => this.indexOf.get(sample) ?? []);
    this.isShowable = index => index >= 0 && index < count;
    this.paint();
  }

  frameOf(layer) {
    return Math.max(this.frames.findIndex(frame => frame.layer === layer), 0);
  }

  get frame() {
    return this.frames[Math.round(this.time)];
  }

  get ground() {
    const [red, green, blue] = rgb(getComputedStyle(this.parts.stage).getPropertyValue("--st-background-color").trim());
    return 0.3 * red + 0.59 * green + 0.11 * blue < 128 ? "dark" : "light";
  }

  agrees(index) {
    return Boolean(this.frame.agrees[index >> 3] & (1 << (index & 7)));
  }

  // Colors and legend.

  paint() {
    if (!this.ready) return;
    const { points, colors } = this;
    const by = this.parts.color.value;
    const palette = this.ground === "dark" ? DARK : LIGHT;
    const gray = GRAY[this.ground];
    this.colorAgreement = by === "agreement";
    if (by === "class") {
      this.palette = [...palette, gray];
      points.classes.forEach((code, index) => { colors[index] = this.colorOfClass.get(code) ?? palette.length; });
    } else if (by === "agreement") {
      this.palette = [palette[0], palette[1], gray];
    } else if (by === "split") {
      this.palette = [palette[0], palette[1]];
      points.is_test.forEach((test, index) => { colors[index] = test ? 0 : 1; });
    } else {
      this.palette = [...Array.from({ length: 16 }, (_, step) => ramp(step / 15, this.ground)), gray];
      const most = Math.max(points.num_layers - 1, 1);
      points.depths.forEach((depth, index) => {
        colors[index] = depth === MISSING ? 16 : Math.min(Math.round((15 * depth) / most), 15);
      });
    }
    this.showLegend(by);
    this.draw();
  }

  showLegend(by) {
    const { legend } = this.parts;
    const { points, palette } = this;
    const key = [by, this.ground, this.data.token, this.query].join("|");
    if (this.legendKey === key) return;
    this.legendKey = key;
    const swatch = (color, text) => {
      const item = document.createElement("span");
      item.innerHTML = `<span class="swatch" style="display:inline-block;background:${color}"></span> `;
      item.append(text);
      return item;
    };
    legend.replaceChildren();
    if (by === "class") {
      for (const code of points.colored) {
        const button = document.createElement("button");
        button.type = "button";
        const name = points.class_names[code];
        button.append(swatch(palette[this.colorOfClass.get(code)], name));
        button.setAttribute("aria-pressed", String(this.query === name.toLowerCase()));
        button.onclick = () => this.setSearch(this.query === name.toLowerCase() ? "" : name);
        legend.append(button);
      }
      const others = points.class_names.length - points.colored.length;
      if (others) {
        legend.append(swatch(palette.at(-1), `${others} other classes. Colored: those best separated at the last layer.`));
      }
    } else if (by === "agreement") {
      legend.append(swatch(palette[0], "of the same class"), swatch(palette[1], "of another class"));
      if (points.is_query.includes(0)) legend.append(swatch(palette[2], "not searched here"));
    } else if (by === "split") {
      if (points.is_test.includes(1)) legend.append(swatch(palette[0], "test"));
      if (points.is_test.includes(0)) legend.append(swatch(palette[1], "train"));
    } else {
      const bar = document.createElement("span");
      bar.className = "ramp";
      bar.style.background = `linear-gradient(90deg, ${palette.slice(0, 16).join(",")})`;
      legend.append("decided at the first layer", bar, "at the last");
    }
    const marks = document.createElement("span");
    marks.textContent = "● nearest is of the same class, ✚ of another; ◇ selected, □ its neighbors";
    legend.append(marks);
  }

  // Drawing.

  draw() {
    if (this.pending || this.closed) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      this.drawNow();
    });
  }

  place() {
    const { stage } = this.parts;
    const width = stage.clientWidth, height = stage.clientHeight;
    const size = 0.94 * Math.min(width, height) * this.view.zoom;
    const left = width / 2 + this.view.x - size / 2;
    const top = height / 2 + this.view.y - size / 2;
    const first = Math.min(Math.floor(this.time), this.frames.length - 1);
    const second = Math.min(first + 1, this.frames.length - 1);
    const share = ease(this.time - first);
    const a = this.frames[first].places, b = this.frames[second].places;
    const scale = size / 65534;
    const { xs, ys } = this;
    for (let index = 0; index < xs.length; index++) {
      const x = a[2 * index], u = b[2 * index];
      if (x === MISSING || u === MISSING) {
        xs[index] = NaN;
        continue;
      }
      const y = a[2 * index + 1], v = b[2 * index + 1];
      xs[index] = left + scale * (x + share * (u - x));
      ys[index] = top + scale * (65534 - (y + share * (v - y)));
    }
    return { width, height };
  }

  drawNow() {
    if (!this.ready || !this.palette) return;
    const { canvas } = this.parts;
    const { width, height } = this.place();
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = this.context;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const count = this.xs.length;
    const radius = clamp(130 / Math.sqrt(count), 1.4, 5) * clamp(this.view.zoom ** 0.4, 0.8, 3);
    this.drawDots(width, height, radius);
    this.drawPictures(width, height);
    this.drawMarks(radius);
    this.drawLasso();
    canvas.dataset.time = this.time.toFixed(3); // for tests, and for whoever looks
    canvas.dataset.zoom = this.view.zoom.toFixed(3);
  }

  drawDots(width, height, radius) {
    const { points, xs, ys, colors, context } = this;
    const { agrees } = this.frame;
    const count = xs.length;
    // Batches of the same color and strength, the faint ones first: drawing each on its own would be slow.
    const numColors = this.palette.length + 1;
    const batches = Array.from({ length: 2 * numColors }, () => []);
    const marked = this.ground === "dark" ? "#ffffff" : "#111827";
    this.inView = [];
    for (let index = 0; index < count; index++) {
      const x = xs[index], y = ys[index];
      if (!(x > -20 && y > -20 && x < width + 20 && y < height + 20)) continue;
      let color = colors[index];
      if (this.colorAgreement) {
        color = points.is_query[index] ? (agrees[index >> 3] & (1 << (index & 7)) ? 0 : 1) : 2;
      }
      let strong = points.is_query[index] ? this.inFilter(index) : !this.shown;
      if (this.query) {
        strong = this.matches[index] === 1;
        if (strong && this.parts.color.value === "class" && color === this.palette.length - 1) color = numColors - 1;
      } else if (this.classHovered >= 0 && points.classes[index] === this.classHovered) {
        strong = true;
        if (color === this.palette.length - 1 && this.parts.color.value === "class") color = numColors - 1;
      }
      batches[(strong ? numColors : 0) + color].push(index);
      if (strong && x > 0 && y > 0 && x < width && y < height) this.inView.push(index);
    }
    const round = count <= 4000;
    // Gray, the last color of a palette, lies beneath the others.
    const order = [0, 1].flatMap(part => {
      const gray = part * numColors + this.palette.length - 1;
      const others = Array.from({ length: numColors }, (_, color) => part * numColors + color);
      return [gray, ...others.filter(number => number !== gray)];
    });
    order.forEach(number => {
      const batch = batches[number];
      if (!batch.length) return;
      context.globalAlpha = number < numColors ? FAINT : 0.85;
      context.fillStyle = this.palette[number % numColors] ?? marked;
      context.beginPath();
      for (const index of batch) {
        const x = xs[index], y = ys[index];
        const isQuery = points.is_query[index];
        const size = isQuery ? radius : 0.7 * radius;
        if (isQuery && !(agrees[index >> 3] & (1 << (index & 7)))) {
          context.rect(x - 1.3 * size, y - 0.45 * size, 2.6 * size, 0.9 * size);
          context.rect(x - 0.45 * size, y - 1.3 * size, 0.9 * size, 2.6 * size);
        } else if (round) {
          context.moveTo(x + size, y);
          context.arc(x, y, size, 0, 2 * Math.PI);
        } else {
          context.rect(x - size, y - size, 2 * size, 2 * size);
        }
      }
      context.fill();
    });
    context.globalAlpha = 1;
  }

  drawPictures(width, height) {
    if (!this.data.pictures || this.moving || this.view.zoom < 2 || !this.inView.length) return;
    if (this.inView.length > MOST_DRAWN_PICTURES) return;
    const { context, points } = this;
    const missing = [];
    for (const index of this.inView) {
      const picture = this.pictures.get(points.samples[index]);
      if (!picture) {
        missing.push(points.samples[index]);
        continue;
      }
      const x = this.xs[index] - PICTURE / 2, y = this.ys[index] - PICTURE / 2;
      context.drawImage(picture.image, picture.x, picture.y, picture.side, picture.side, x, y, PICTURE, PICTURE);
      context.strokeStyle = this.palette[this.colorAgreement ? (this.agrees(index) ? 0 : 1) : this.colors[index]];
      context.lineWidth = 2;
      context.strokeRect(x, y, PICTURE, PICTURE);
    }
    this.askFor(missing);
  }

  drawMarks(radius) {
    const { context, xs, ys } = this;
    const color = MARK[this.ground];
    const ground = getComputedStyle(this.parts.stage).getPropertyValue("--st-background-color");
    const stroke = (width, style) => {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.stroke();
    };
    const outline = path => {
      context.beginPath();
      path();
      stroke(5, ground);
      stroke(2.2, color);
    };
    const { selected } = this;
    if (selected >= 0 && !Number.isNaN(xs[selected])) {
      const x = xs[selected], y = ys[selected];
      if (this.frame.layer === this.data.layer) { // the neighbors are those of the chosen layer
        context.beginPath();
        for (const index of this.neighbors) {
          context.moveTo(x, y);
          context.lineTo(xs[index], ys[index]);
        }
        stroke(1.4, color);
      }
      const side = radius + 4;
      for (const index of this.neighbors) {
        outline(() => context.rect(xs[index] - side, ys[index] - side, 2 * side, 2 * side));
      }
      const reach = radius + 8;
      outline(() => {
        context.moveTo(x, y - reach);
        context.lineTo(x + reach, y);
        context.lineTo(x, y + reach);
        context.lineTo(x - reach, y);
        context.closePath();
      });
    }
    if (this.hovered >= 0) {
      outline(() => context.arc(xs[this.hovered], ys[this.hovered], radius + 3, 0, 2 * Math.PI));
    }
  }

  drawLasso() {
    if (!this.path || this.path.length < 2) return;
    const { context } = this;
    context.beginPath();
    this.path.forEach(([x, y], number) => (number ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.globalAlpha = 0.12;
    context.fillStyle = MARK[this.ground];
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = MARK[this.ground];
    context.lineWidth = 1.5;
    context.stroke();
  }

  // Layers.

  showTime() {
    const { slider, name } = this.parts;
    slider.value = this.time;
    const { layer } = this.frame;
    name.textContent = layer;
    slider.setAttribute("aria-valuetext", layer);
  }

  setTime(time) {
    this.time = clamp(time, 0, this.frames.length - 1);
    this.showTime();
    if (this.colorAgreement || this.hovered >= 0) this.showTip();
    this.draw();
  }

  releaseTime() {
    this.setTime(Math.round(this.time));
    if (this.frame.layer !== this.data.layer) this.send("layer", this.frame.layer);
  }

  play() {
    if (this.playing) {
      this.stop();
      this.releaseTime();
      return;
    }
    this.playing = true;
    this.parts.play.textContent = "Pause";
    const last = this.frames.length - 1;
    if (this.time >= last) this.setTime(0);
    const seconds = clamp(SECONDS_OF_PLAY / Math.max(last, 1), ...SECONDS_OF_LAYER);
    this.run(time => {
      const step = this.calm.matches ? Math.floor(time / (2 * seconds)) : time / seconds;
      return step;
    }, this.calm.matches ? Math.ceil(this.time) : this.time, last, () => {
      this.stop();
      this.releaseTime();
    });
  }

  // Move on from a time to another; `passed` says how many layers after some seconds.
  run(passed, from, to, done) {
    this.moving = true;
    const began = performance.now();
    const tick = now => {
      if (!this.moving || this.closed) return;
      const time = from + Math.sign(to - from) * passed((now - began) / 1000);
      const over = (time - to) * Math.sign(to - from) >= 0;
      this.setTime(over ? to : time);
      if (over) done();
      else this.ticking = requestAnimationFrame(tick);
    };
    this.ticking = requestAnimationFrame(tick);
  }

  moveTo(target) {
    if (this.playing) return;
    cancelAnimationFrame(this.ticking);
    if (this.calm.matches || target === this.time) {
      this.moving = false;
      this.setTime(target);
      return;
    }
    const distance = Math.abs(target - this.time);
    this.run(seconds => (distance * seconds) / 0.5, this.time, target, () => {
      this.moving = false;
      this.draw();
    });
  }

  stop() {
    this.playing = this.moving = false;
    cancelAnimationFrame(this.ticking);
    this.parts.play.textContent = "Play";
  }

  // Search.

  setSearch(text) {
    this.parts.search.value = text;
    this.searchFor(text);
  }

  searchFor(text) {
    if (!this.ready) return;
    this.query = text.trim().toLowerCase();
    const { class_names: names, classes } = this.points;
    const exact = names.findIndex(name => name.toLowerCase() === this.query);
    this.matches = Uint8Array.from(this.texts, (words, index) =>
      Number(this.query !== "" && (exact >= 0 ? classes[index] === exact : words.includes(this.query))));
    if (this.query) {
      const count = this.matches.reduce((sum, match) => sum + match, 0);
      this.say(`${count.toLocaleString("en")} of ${this.texts.length.toLocaleString("en")} samples match “${text.trim()}”.`);
    } else this.say("");
    this.paint();
  }

  say(text) {
    if (this.parts.status.textContent !== text) this.parts.status.textContent = text;
  }

  // Hovering and picking.

  at(x, y, reach) {
    let best = -1, least = reach * reach;
    for (let index = 0; index < this.xs.length; index++) {
      const distance = (this.xs[index] - x) ** 2 + (this.ys[index] - y) ** 2;
      if (distance >= least) continue;
      if (this.query && !this.matches[index] && best >= 0) continue;
      best = index;
      least = distance;
    }
    return best;
  }

  hover(index, x, y) {
    this.parts.canvas.classList.toggle("over", index >= 0 && !this.drawing);
    if (index === this.hovered) return;
    this.hovered = index;
    this.classHovered = index >= 0 ? this.points.classes[index] : -1;
    this.pointer = [x, y];
    this.showTip();
    this.draw();
  }

  showTip() {
    const { tip, stage } = this.parts;
    const index = this.hovered;
    tip.hidden = index < 0;
    if (index < 0) return;
    const { points } = this;
    const className = code => points.class_names[points.classes[code]];
    tip.replaceChildren();
    const sample = points.samples[index];
    const picture = this.pictures.get(sample);
    if (picture) {
      const box = document.createElement("div");
      box.className = "picture";
      box.style.backgroundImage = `url(${picture.url})`;
      box.style.backgroundPosition = `-${picture.x}px -${picture.y}px`;
      tip.append(box);
    } else if (this.data.pictures && !this.missingPictures.has(sample)) this.askAround(index);
    const text = document.createElement("div");
    text.className = "text";
    const title = document.createElement("strong");
    title.textContent = className(index);
    const lines = [points.ids[index]];
    if (!points.is_query[index]) lines.push(`${points.is_test[index] ? "test" : "training"} sample, not searched here`);
    else {
      const known = this.frame.layer === this.data.layer;
      const nearest = known ? this.indexOf.get(this.nearest[index]) : undefined;
      const whose = nearest === undefined ? "" : `${className(nearest)}, ${points.ids[nearest]}`;
      lines.push(this.agrees(index) ? "● nearest is of the same class" : "✚ nearest is of another class");
      if (whose) lines.push(`nearest: ${whose}`);
    }
    text.append(title);
    for (const line of lines) {
      const row = document.createElement("div");
      row.textContent = line;
      text.append(row);
    }
    tip.append(text);
    const x = this.xs[index], y = this.ys[index];
    const { offsetWidth: width, offsetHeight: height } = tip;
    tip.style.left = `${clamp(x + 14, 4, Math.max(stage.clientWidth - width - 4, 4))}px`;
    tip.style.top = `${y + 16 + height > stage.clientHeight ? Math.max(y - height - 14, 4) : y + 14}px`;
  }

  pick(index) {
    if (index < 0) return;
    if (!this.points.is_query[index]) {
      this.say("Only samples whose neighbors were searched can be selected: choose other samples above the map.");
      return;
    }
    this.selected = index;
    this.neighbors = [];
    this.draw();
    this.send("picked", this.points.samples[index]);
  }

  // Pictures.

  askAround(index) {
    const { samples } = this.points;
    const wanted = [samples[index]];
    const nearby = this.inView
      .map(other => [(this.xs[other] - this.xs[index]) ** 2 + (this.ys[other] - this.ys[index]) ** 2, samples[other]])
      .sort((one, other) => one[0] - other[0]);
    this.askFor([...wanted, ...nearby.map(([, sample]) => sample)]);
  }

  askFor(samples) {
    const wanted = samples.filter(sample =>
      !this.pictures.has(sample) && !this.askedPictures.has(sample) && !this.missingPictures.has(sample));
    if (!wanted.length || !shared.askPictures || this.waiting) return;
    this.waiting = true;
    const some = wanted.slice(0, MOST_PICTURES);
    clearTimeout(this.patience);
    this.patience = setTimeout(() => { // an answer that got lost
      this.waiting = false;
      this.askedPictures.clear();
    }, 8000);
    setTimeout(() => {
      some.forEach(sample => this.askedPictures.add(sample));
      shared.askPictures(some);
    }, 60);
  }

  readPictures() {
    const atlas = shared.pictures;
    if (!atlas?.image || !this.points || atlas.token !== this.data.token || atlas === this.lastAtlas) return;
    this.lastAtlas = atlas;
    const image = new Image();
    image.onload = () => {
      const columns = Math.floor(image.width / atlas.side);
      atlas.samples.forEach((sample, number) => this.pictures.set(sample, {
        image, url: atlas.image, side: atlas.side,
        x: (number % columns) * atlas.side, y: Math.floor(number / columns) * atlas.side,
      }));
      atlas.missing.forEach(sample => this.missingPictures.add(sample));
      this.waiting = false;
      clearTimeout(this.patience);
      if (this.hovered >= 0) this.showTip();
      this.draw();
    };
    image.src = atlas.image;
  }

  // Zoom, pan, lasso.

  zoomBy(factor, x, y) {
    const { stage } = this.parts;
    const zoom = clamp(this.view.zoom * factor, ...ZOOM);
    const actual = zoom / this.view.zoom;
    const centerX = (x ?? stage.clientWidth / 2) - stage.clientWidth / 2;
    const centerY = (y ?? stage.clientHeight / 2) - stage.clientHeight / 2;
    this.view = {
      zoom,
      x: centerX - (centerX - this.view.x) * actual,
      y: centerY - (centerY - this.view.y) * actual,
    };
    this.moved();
  }

  panBy(x, y) {
    this.view = { ...this.view, x: this.view.x + x, y: this.view.y + y };
    this.moved();
  }

  moved() {
    this.hover(-1);
    this.draw();
  }

  setLasso(on) {
    this.drawing = on;
    this.parts.lasso.setAttribute("aria-pressed", String(on));
    this.parts.canvas.classList.toggle("draw", on);
    this.say(on ? "Draw around samples; Escape ends it." : "");
  }

  endLasso() {
    const path = this.path;
    this.path = null;
    this.setLasso(false);
    if (path && path.length > 2) {
      const { points, xs, ys } = this;
      const inside = [];
      for (let index = 0; index < xs.length; index++) {
        if (points.is_query[index] && contains(path, xs[index], ys[index])) inside.push(points.samples[index]);
      }
      if (inside.length) this.send("lasso", inside);
      else this.say("No sample lies within the line.");
    }
    this.draw();
  }

  listen() {
    const { canvas, slider, play, color, search, lasso, zoomIn, zoomOut, reset } = this.parts;
    slider.oninput = () => {
      this.stop();
      this.setTime(Number(slider.value));
    };
    slider.onchange = () => this.releaseTime();
    slider.onkeydown = event => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 5, PageDown: -5 }[event.key];
      const target = { Home: 0, End: this.frames.length - 1 }[event.key] ?? (step && Math.round(this.time) + step);
      if (target === undefined) return;
      event.preventDefault();
      this.stop();
      this.setTime(target);
      clearTimeout(this.release);
      this.release = setTimeout(() => this.releaseTime(), 400);
    };
    play.onclick = () => this.play();
    color.onchange = () => this.paint();
    search.oninput = () => this.searchFor(search.value);
    lasso.onclick = () => this.setLasso(!this.drawing);
    zoomIn.onclick = () => this.zoomBy(1.6);
    zoomOut.onclick = () => this.zoomBy(1 / 1.6);
    reset.onclick = () => {
      this.view = { zoom: 1, x: 0, y: 0 };
      this.setSearch("");
      this.moved();
    };
    canvas.onkeydown = event => {
      const pan = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
      if (pan) this.panBy(...pan);
      else if (event.key === "+" || event.key === "=") this.zoomBy(1.4);
      else if (event.key === "-") this.zoomBy(1 / 1.4);
      else if (event.key === "0") reset.onclick();
      else if (event.key === "Escape") {
        this.path = null;
        this.setLasso(false);
        this.draw();
      } else return;
      event.preventDefault();
    };
    canvas.addEventListener("wheel", event => {
      // Without a click on the map first, the wheel moves the page: a large map must not catch who only passes by.
      if (!event.ctrlKey && this.root.activeElement !== canvas && document.activeElement !== canvas) {
        this.say("Click the map first, or hold Ctrl, to zoom with the wheel.");
        return;
      }
      event.preventDefault();
      this.zoomBy(Math.exp(-clamp(event.deltaY, -120, 120) / 300), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.onpointerdown = event => this.press(event);
    canvas.onpointermove = event => this.move(event);
    canvas.onpointerup = event => this.lift(event);
    canvas.onpointercancel = event => {
      this.pointers.delete(event.pointerId);
      canvas.classList.remove("drag");
    };
    canvas.onpointerleave = () => this.ready && this.hover(-1);
  }

  press(event) {
    if (!this.ready) return;
    const { canvas } = this.parts;
    canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    this.pressed = { x: event.offsetX, y: event.offsetY, far: false };
    if (this.pointers.size === 1 && (this.drawing || event.shiftKey)) this.path = [[event.offsetX, event.offsetY]];
    else this.path = null;
  }

  move(event) {
    if (!this.ready) return;
    const place = [event.offsetX, event.offsetY];
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === "mouse") this.hover(this.at(...place, REACH), ...place);
      return;
    }
    if (Math.hypot(place[0] - this.pressed.x, place[1] - this.pressed.y) > 4) this.pressed.far = true;
    if (this.path) {
      this.path.push(place);
      this.draw();
    } else if (this.pointers.size === 2) {
      const [, other] = [...this.pointers].find(([id]) => id !== event.pointerId);
      const gap = (one, two) => Math.hypot(one[0] - two[0], one[1] - two[1]);
      this.zoomBy(gap(place, other) / Math.max(gap(before, other), 1), (place[0] + other[0]) / 2, (place[1] + other[1]) / 2);
    } else if (this.pressed.far) {
      this.parts.canvas.classList.add("drag");
      this.panBy(place[0] - before[0], place[1] - before[1]);
    }
    this.pointers.set(event.pointerId, place);
  }

  lift(event) {
    if (!this.pointers.delete(event.pointerId) || !this.ready) return;
    this.parts.canvas.classList.remove("drag");
    if (this.path && this.pressed.far) {
      this.endLasso();
      return;
    }
    this.path = null;
    if (this.pressed.far || this.pointers.size) return;
    const reach = event.pointerType === "mouse" ? REACH : TOUCH_REACH;
    const index = this.at(event.offsetX, event.offsetY, reach);
    if (event.pointerType !== "mouse") this.hover(index, event.offsetX, event.offsetY);
    this.pick(index);
  }
}

function unpack(message) {
  const bytes = message instanceof Uint8Array ? message : new Uint8Array(message);
  const content = bytes.slice(); // so that it begins at an address that arrays of numbers may begin at
  const length = new DataView(content.buffer).getUint32(0, true);
  const points = JSON.parse(new TextDecoder().decode(content.subarray(4, 4 + length)));
  const types = { uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array };
  let offset = 4 + length;
  for (const [name, [type, size]] of Object.entries(points.arrays)) {
    points[name] = new types[type](content.buffer, offset, size);
    offset += 4 * Math.ceil(points[name].byteLength / 4);
  }
  return points;
}

function decode64(text) {
  return Uint8Array.from(atob(text), character => character.charCodeAt(0));
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), most);
}

function ease(share) {
  return share * share * (3 - 2 * share);
}

function contains(path, x, y) {
  let inside = false;
  for (let one = 0, other = path.length - 1; one < path.length; other = one++) {
    const [ax, ay] = path[one], [bx, by] = path[other];
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
  }
  return inside;
}

// From blue to orange, the same lightness in light and dark pages.
function ramp(share, ground) {
  const [from, to] = ground === "dark" ? [[108, 182, 240], [240, 163, 94]] : [[11, 98, 164], [217, 98, 11]];
  return `rgb(${from.map((value, channel) => Math.round(value + share * (to[channel] - value))).join(",")})`;
}

function rgb(color) {
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(color);
  if (hex) return hex.slice(1, 4).map(part => parseInt(part, 16));
  return (color.match(/[\d.]+/g) ?? [255, 255, 255]).slice(0, 3).map(Number);
}
