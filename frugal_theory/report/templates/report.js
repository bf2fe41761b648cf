"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const HUES = 8, DASHES = [[7, 4], [13, 4], [4, 3], [12, 3, 2, 3], [18, 5], [6, 3, 2, 3, 2, 3]], SHAPE = [2, 3];

  document.documentElement.classList.add("scripted");
  all("[data-scripted]").forEach((element) => { element.hidden = false; });
  all("details[data-still]").forEach((element) => { element.open = false; });

  // --- numbers and files ---------------------------------------------------------------------------------------------------

  const number = (value, digits = 4) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-4 && size < 1e7) {
      const text = Number(value.toPrecision(digits));
      return text.toLocaleString("en", { maximumSignificantDigits: digits }).replace("-", "−");
    }
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const power = "10" + String(Number(exponent)).replace(/[-\d]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
    const short = String(Number(mantissa));
    return short === "1" ? power : `${short}×${power}`.replace("-", "−");
  };

  const entry = (value) => {
    const text = value === null || value === undefined ? "" : String(value).replace(/\s+/g, " ").trim();
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };

  const save = (name, rows) => {
    const text = rows.map((row) => row.map(entry).join(",")).join("\n") + "\n";
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    link.download = `${name}.csv`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // --- figures -------------------------------------------------------------------------------------------------------------

  const nearest = (values, x) => {
    let low = 0, high = values.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (values[middle] < x) low = middle; else high = middle;
    }
    return Math.abs(values[low] - x) <= Math.abs(values[high] - x) ? low : high;
  };

  const figure = (section) => {
    const spec = JSON.parse(section.querySelector("script").textContent);
    const place = section.querySelector(".drawing"), table = section.querySelector(".readout tbody");
    const caption = section.querySelector(".readout caption"), said = section.querySelector("[role=status]");
    const axisChoice = section.querySelector("[data-axis]");
    const logs = { x: section.querySelector("[data-log=x]"), y: section.querySelector("[data-log=y]") };
    let plot = null, shown = [], lastAxis = null;

    const chosen = (group) => {
      const boxes = all(`[data-group="${group}"] input`, section);
      return boxes.length ? boxes.map((box) => box.checked) : spec.groups[group].map(() => true);
    };
    const axis = () => spec.axes[axisChoice ? axisChoice.selectedIndex : 0];

    const looks = (on) => {
      const cells = on[0].filter(Boolean).length;
      const bounds = spec.groups[1].map((line, i) => (line.look === "bound" ? i : -1)).filter((i) => i >= 0 && on[1][i]);
      return (one) => {
        const line = spec.groups[1][one.line];
        const hue = (cells > 1 ? one.cell : one.line) % HUES;
        const dash = line.look === "shape" ? SHAPE : line.look === "bound"
          ? DASHES[Math.max(0, bounds.indexOf(one.line)) % DASHES.length] : [];
        return { colour: css(`--line-${hue + 1}`), dash, points: line.look === "points" || one.y.length === 1,
          width: line.look === "measured" ? 2 : 1.5, faint: line.look === "faint" };
      };
    };

    const name = (one) => {
      const parts = [];
      if (spec.groups[0].length > 1) parts.push(spec.groups[0][one.cell].label);
      if (spec.groups[1].length > 1 || !parts.length) parts.push(spec.groups[1][one.line].label);
      if (one.name) parts.push(one.name);
      return parts.join(" · ");
    };

    const read = (x) => {
      const key = axis().key;
      caption.textContent = x === null ? `Last values of each line` : `${axis().label} = ${number(x, 6)}`;
      const spoken = [], end = Math.max(...shown.map((one) => one.x[key][one.y.length - 1]));
      shown.forEach((one, i) => {
        const at = x === null ? one.y.length - 1 : nearest(one.x[key], x), own = one.x[key][at];
        const at_ = x === null ? end : x, away = Math.abs(own - at_) > 0.005 * Math.abs(at_);
        const band = one.lower && one.lower[at] !== null && one.lower[at] !== one.upper[at]
          ? ` [${number(one.lower[at])}, ${number(one.upper[at])}]` : "";
        const text = number(one.y[at]) + band + (away ? ` at ${number(own, 6)}` : "");
        if (table.rows[i]) table.rows[i].cells[1].textContent = text;
        if (spoken.length < 8) spoken.push(`${name(one)}: ${text}`);
      });
      return `${caption.textContent}. ${spoken.join("; ")}`;
    };

    const legend = (look) => {
      table.replaceChildren(...shown.map((one) => {
        const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
        const { colour, dash, points } = look(one);
        const shape = document.createElement("template");
        shape.innerHTML = `<svg viewBox="0 0 34 10" aria-hidden="true">${points ? "<circle/>" : "<path/>"}</svg>`;
        const mark = shape.content.firstChild, line = mark.firstChild;
        const looks_ = points ? { cx: 17, cy: 5, r: 3.5 } : { d: "M0 5H34", "stroke-dasharray": dash.join(" ") };
        const fill = points && one.y.length === 1 ? colour : "none";
        Object.entries({ ...looks_, stroke: colour, fill, "stroke-width": 2 }).forEach((pair) => line.setAttribute(...pair));
        head.scope = "row";
        head.append(mark, name(one));
        cell.className = "n";
        row.append(head, cell);
        return row;
      }));
    };

    const whiskers = (look) => (u) => {
      shown.forEach((one) => {
        if (one.y.length !== 1 || !one.lower) return;
        const [x, low, high] = [u.valToPos(one.x[axis().key][0], "x", true), ...[one.lower[0], one.upper[0]].map((v) => u.valToPos(v, "y", true))];
        const { left, top, width, height } = u.bbox;
        u.ctx.save();
        u.ctx.beginPath();
        u.ctx.rect(left, top, width, height);
        u.ctx.clip();
        u.ctx.beginPath();
        u.ctx.strokeStyle = look(one).colour;
        u.ctx.lineWidth = 1.5 * devicePixelRatio;
        u.ctx.moveTo(x, low);
        u.ctx.lineTo(x, high);
        u.ctx.stroke();
        u.ctx.restore();
      });
    };

    const draw = () => {
      const on = [chosen(0), chosen(1)], { key } = axis();
      if (key !== lastAxis) {
        if (lastAxis !== null || logs.x.dataset.kept !== "yes") logs.x.checked = axis().log;
        lastAxis = key;
      }
      const log = { x: logs.x.checked, y: logs.y.checked };
      shown = spec.series.filter((one) => on[0][one.cell] && on[1][one.line] && one.x[key] && one.x[key].length);
      if (plot) plot.destroy();
      plot = null;
      place.classList.toggle("empty", !shown.length);
      const look = looks(on);
      legend(look);
      if (!shown.length) { caption.textContent = "Nothing is chosen"; return; }

      const series = [{}], bands = [], tables = [];
      const usable = (values, keep) => keep.map((i) => (log.y && !(values[i] > 0) ? null : values[i]));
      const measured = [], ends = [], everything = [];
      shown.forEach((one) => {
        const keep = one.y.map((_, i) => i).filter((i) => !log.x || one.x[key][i] > 0);
        const { colour, dash, points, width, faint } = look(one);
        const columns = [keep.map((i) => one.x[key][i]), usable(one.y, keep)];
        const values = columns[1].filter((v) => v !== null);
        everything.push(...values);
        if (!["bound", "shape"].includes(spec.groups[1][one.line].look)) measured.push(...values);
        if (values.length) ends.push(values[values.length - 1]);
        series.push({ scale: "y", stroke: colour, dash, width, alpha: faint ? 0.5 : 1,
          points: { show: points, size: one.y.length === 1 ? 10 : 7, stroke: colour, width: 1.5, fill: one.y.length === 1 ? colour : css("--card") },
          ...(points ? { paths: () => null } : {}) });
        if (one.lower && one.y.length > 1) {
          columns.push(usable(one.upper, keep), keep.map((i) => (log.y && !(one.lower[i] > 0) ? 1e-300 : one.lower[i])));
          const at = series.length;
          series.push(...[0, 1].map(() => ({ scale: "y", stroke: "transparent", width: 0, auto: false, points: { show: false } })));
          bands.push({ series: [at, at + 1], fill: `${colour}38` });
        }
        tables.push(columns);
      });
      const least = Math.min(...everything), most = Math.max(...everything);
      const enough = measured.length ? Math.min(most, Math.max(6 * Math.max(...measured), 1.5 * Math.max(...ends))) : most;
      const data = uPlot.join(tables);
      const first = data[0][0], last = data[0][data[0].length - 1];
      const pad = (low, high, logarithmic) => {
        if (logarithmic) { const by = Math.max(1.08, (high / low) ** 0.03); return [low / by, high * by]; }
        const by = 0.04 * (high - low || Math.abs(high) || 1);
        return [low - by, high + by];
      };
      const quiet = css("--quiet"), faint = css("--faint"), font = "13px system-ui, sans-serif";
      const ticks = (u, splits) => splits.map((value) => (value === null ? null : number(value, 3)));
      const round = (u, axis, low, high) => {  // ticks of a logarithmic axis at numbers that people write
        const decades = Math.log10(high / low), every = Math.max(1, Math.ceil(decades / 7));
        const steps = decades > 3 ? [1] : decades > 1.7 ? [1, 3] : decades > 0.6 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
        const found = [];
        for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
          if (power % every === 0) steps.forEach((step) => { const at = step * 10 ** power; if (at >= low && at <= high) found.push(at); });
        }
        return found;
      };
      const across = (logarithmic) => (logarithmic ? { splits: round, filter: (u, splits) => splits } : {});
      const common = { stroke: quiet, font, labelFont: font, grid: { stroke: faint, width: 1 }, ticks: { show: false } };
      plot = new uPlot({
        ...size(), series, bands, legend: { show: false },
        scales: {
          x: { time: false, distr: log.x ? 3 : 1, range: (u, low, high) => (low === high || first === last ? pad(first, last === first && log.x ? first * 1.0001 : last, log.x) : low <= first && high >= last && shown[0].y.length === 1 ? pad(low, high, log.x) : [low, high]) },
          y: { distr: log.y ? 3 : 1, range: (u, low, high) => {
            const whole = !(u.scales.x.min > first || u.scales.x.max < last);
            if (whole || low === null) return pad(log.y || least < 0 ? least : Math.min(least, 0), enough, log.y);
            return pad(low, high === low ? low * 1.01 + (low === 0) : high, log.y);
          } },
        },
        axes: [{ ...common, label: axis().label, labelSize: 22, size: 34, values: ticks, space: 60, ...across(log.x) },
          { ...common, size: 66, values: ticks, space: 34, ...across(log.y) }],
        cursor: { points: { size: 8 }, drag: { x: true, y: false }, focus: { prox: 24 } },
        hooks: {
          setCursor: [(u) => read(u.cursor.idx === null || u.cursor.idx === undefined ? null : u.data[0][u.cursor.idx])],
          draw: [whiskers(look)],
        },
      }, data, place);
      read(null);
    };

    const size = () => {
      const width = Math.max(240, place.clientWidth);
      return { width, height: Math.round(Math.min(460, Math.max(280, 0.5 * width))) };
    };

    section.addEventListener("change", draw);
    all("[data-all]", section).forEach((button) => button.addEventListener("click", () => {
      all("input", button.closest("fieldset")).forEach((box) => { box.checked = button.dataset.all === "yes"; });
      draw();
    }));
    let at = null;
    place.addEventListener("keydown", (event) => {
      if (!plot || !["ArrowLeft", "ArrowRight", "Home", "End", "Escape"].includes(event.key)) return;
      event.preventDefault();
      const xs = plot.data[0], step = event.shiftKey ? 10 : 1;
      if (event.key === "Escape") { plot.setScale("x", { min: xs[0], max: xs[xs.length - 1] }); return; }
      const start = at === null ? -1 : at;
      const to = { ArrowLeft: start - step, ArrowRight: start + step, Home: 0, End: xs.length - 1 }[event.key];
      at = Math.min(xs.length - 1, Math.max(0, to));
      plot.setCursor({ left: plot.valToPos(xs[at], "x"), top: 10 });
      said.textContent = read(xs[at]);
    });
    section.querySelector("[data-csv]").addEventListener("click", () => {
      const keys = spec.axes.map(({ key }) => key);
      const rows = [["cell", "line", ...keys, "value", "lower", "upper"]];
      spec.series.forEach((one) => one.y.forEach((value, i) => rows.push([
        spec.groups[0][one.cell].label, spec.groups[1][one.line].label + (one.name ? `, ${one.name}` : ""),
        ...keys.map((key) => (one.x[key] ? one.x[key][i] : "")), value,
        one.lower ? one.lower[i] : "", one.upper ? one.upper[i] : ""])));
      save(spec.name, rows);
    });
    new ResizeObserver(() => { if (plot && plot.width !== size().width) plot.setSize(size()); }).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    section.show = (cell, theorem) => {
      all('[data-group="0"] input', section).forEach((box, i) => { box.checked = spec.groups[0][i].label === cell || spec.groups[0].length === 1; });
      all('[data-group="1"] input', section).forEach((box, i) => {
        const line = spec.groups[1][i];
        box.checked = line.theorem === theorem || !line.theorem;
      });
      draw();
    };
    section.draw = draw;
    return draw;
  };

  // --- tables --------------------------------------------------------------------------------------------------------------

  const units = (table) => {
    if (table.dataset.units === "rows") return Array.from(table.tBodies).flatMap((body) => Array.from(body.querySelectorAll("tr:not(.group)")));
    const bodies = Array.from(table.tBodies).filter((body) => !body.classList.contains("empty"));
    return bodies.length > 1 || table.dataset.units === "bodies" ? bodies : Array.from(bodies[0].rows);
  };
  const cellsOf = (unit) => Array.from((unit.rows ? unit.rows[0] : unit).cells);
  const valueOf = (cell) => {
    if (!cell) return "";
    return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v;
  };

  const sortable = (table) => {
    const heads = Array.from(table.tHead.rows[0].cells), before = units(table);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const now = head.getAttribute("aria-sort");
        const to = now === "ascending" ? "descending" : now === "descending" ? null : "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (to) head.setAttribute("aria-sort", to);
        const sign = to === "descending" ? -1 : 1;
        const order = !to ? before : before.slice().sort((a, b) => {
          const [p, q] = [a, b].map((unit) => valueOf(cellsOf(unit)[column]));
          if (p === "" || q === "" || p === "–" || q === "–") return (p === "" || p === "–") - (q === "" || q === "–");
          const [x, y] = [Number(p), Number(q)];
          return sign * (Number.isNaN(x) || Number.isNaN(y) ? p.localeCompare(q, "en", { numeric: true }) : x - y);
        });
        order.forEach((unit) => unit.parentNode.append(unit));
      });
    });
  };

  const filter = (form) => {
    const table = document.getElementById(form.dataset.filter), count = form.querySelector("output");
    const apply = () => {
      const wanted = new FormData(form), words = String(wanted.get("text") || "").toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      units(table).forEach((unit) => {
        const text = unit.textContent.toLowerCase();
        const fits = ["status", "theorem", "cell"].every((key) => !wanted.get(key) || unit.dataset[key] === wanted.get(key));
        unit.hidden = !(fits && words.every((word) => text.includes(word)));
        shown += !unit.hidden;
      });
      count.textContent = `${shown} of ${units(table).length} shown`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.apply = apply;
    apply();
  };

  const tableFile = (button) => button.addEventListener("click", () => {
    const table = document.getElementById(button.dataset.table);
    const heads = Array.from(table.tHead.rows[0].cells).map((head) => head.dataset.name || head.textContent.trim());
    const more = [...new Set(all("[data-column]", table).map((element) => element.dataset.column))];
    const rows = units(table).filter((unit) => !unit.hidden).map((unit) => [
      ...cellsOf(unit).map(valueOf),
      ...more.map((name) => { const found = unit.querySelector(`[data-column="${name}"]`); return found ? valueOf(found) : ""; })]);
    save(button.dataset.name, [[...heads, ...more], ...rows]);
  });

  // --- links, printing, runs in progress -----------------------------------------------------------------------------------

  const unfold = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.hidden) {  // a row that the filter hides
      const form = all("form[data-filter]").find((one) => target.closest("table") === document.getElementById(one.dataset.filter));
      if (form) { form.reset(); form.apply(); }
    }
    let open = target.matches("details") ? target : target.querySelector("details[data-open]") || target.closest("details");
    while (open) { open.open = true; open = open.parentElement.closest("details"); }
    target.scrollIntoView();
  };

  const figures = all("[data-plot]");
  figures.forEach((section) => { figure(section); });
  all("table[data-sortable]").forEach(sortable);
  all("form[data-filter]").forEach(filter);
  all("button[data-table]").forEach(tableFile);
  all("a[data-figure]").forEach((link) => link.addEventListener("click", (event) => {
    const section = document.getElementById(link.dataset.figure);
    if (!section) return;
    event.preventDefault();
    section.show(link.dataset.cell, link.dataset.theorem);
    section.scrollIntoView();
    section.querySelector(".drawing").focus({ preventScroll: true });
  }));
  addEventListener("hashchange", unfold);

  const inputs = () => all("input, select").filter((input) => !input.closest("[data-progress]"));
  const keep = "frugal-report " + location.pathname;
  const reload = document.body.dataset.reload;
  if (reload) {
    try {
      const kept = JSON.parse(sessionStorage.getItem(keep) || "null");
      if (kept && kept.length === inputs().length) {
        inputs().forEach((input, i) => {
          if (input.type === "checkbox") input.checked = kept[i]; else input.value = kept[i];
          if (input.dataset.log === "x") input.dataset.kept = "yes";
        });
        all("form[data-filter]").forEach((form) => form.apply());
      }
    } catch { /* a page that cannot keep anything begins anew */ }
    const on = document.querySelector("[data-progress] input");
    setInterval(() => {
      if (!on.checked || document.activeElement.matches("input[type=search], select")) return;
      try {
        sessionStorage.setItem(keep, JSON.stringify(inputs().map((input) => (input.type === "checkbox" ? input.checked : input.value))));
      } catch { /* likewise */ }
      location.reload();
    }, 1000 * Number(reload));
  }
  figures.forEach((section) => section.draw());
  unfold();
})();
