// Turns the JSON of a target's conditions into rows of dropdowns. The text below stays what is sent, and what works without script.
(() => {
  const element = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const choice = (label, options, chosen, onchange) => {
    const made = element("select", { "aria-label": label, class: "cd-input" });
    for (const [value, text] of options) made.append(element("option", { value }, text));
    made.value = chosen;
    made.addEventListener("change", () => onchange(made.value));
    return made;
  };

  const WORDS = { is: "is", is_not: "is not", one_of: "is one of", none_of: "is none of", at_least: "is at least", at_most: "is at most" };
  const MANY = ["one_of", "none_of"];

  const start = (text) => {
    if (text.dataset.drawn || text.name.includes("__prefix__")) return;
    const kinds = JSON.parse(text.dataset.conditions); // field -> {told, comparisons, values}
    let rows;
    try {
      rows = JSON.parse(text.value || "[]").flatMap(({ field, ...rest }) => Object.entries(rest).map(([how, value]) => ({ field, how, value })));
    } catch {
      return; // it is no JSON: whoever wrote it by hand mends it by hand
    }
    text.dataset.drawn = "yes";
    text.hidden = true;
    const box = element("div", { class: "cd-rows" });
    text.before(box);

    const kindOf = (field) => kinds[field] || kinds["metadata."];
    const plain = (kind, word) => {
      const trimmed = word.trim();
      if (kind.values.includes("true")) return trimmed === "true";
      return kind.number ? Number(trimmed) : trimmed;
    };
    const save = () => {
      text.value = JSON.stringify(rows.map(({ field, how, value }) => ({ field, [how]: value })));
    };
    const first = (field) => {
      const kind = kindOf(field);
      return { field, how: kind.comparisons[0], value: kind.values.length ? plain(kind, kind.values[0]) : kind.number ? 0 : "" };
    };
    const value = (row, kind) => {
      const shown = Array.isArray(row.value) ? row.value.join(", ") : String(row.value);
      const take = (given) => {
        row.value = MANY.includes(row.how) ? given.split(",").map((word) => plain(kind, word)) : plain(kind, given);
        save();
      };
      if (kind.values.length && !MANY.includes(row.how)) return choice("value", kind.values.map((each) => [each, each]), shown, take);
      const made = element("input", { "aria-label": "value", class: "cd-input", type: kind.number ? "number" : "text", value: shown, min: 0 });
      made.addEventListener("input", () => take(made.value));
      return made;
    };
    const draw = () => {
      box.replaceChildren();
      rows.forEach((row, index) => {
        const kind = kindOf(row.field);
        const base = row.field.startsWith("metadata.") ? "metadata." : row.field;
        const line = element("div", { class: "cd-row" });
        line.append(choice("what", Object.entries(kinds).map(([name, { told }]) => [name, told]), base, (field) => {
          rows[index] = first(field === "metadata." ? "metadata.name" : field);
          redraw();
        }));
        if (base === "metadata.") {
          const name = element("input", { "aria-label": "name in metadata", class: "cd-input", value: row.field.slice(9) });
          name.addEventListener("input", () => { row.field = `metadata.${name.value}`; save(); });
          line.append(name);
        }
        line.append(choice("comparison", kind.comparisons.map((how) => [how, WORDS[how]]), row.how, (how) => {
          rows[index] = { ...first(row.field), how };
          if (MANY.includes(how)) rows[index].value = [rows[index].value];
          redraw();
        }), value(row, kind));
        const gone = element("button", { type: "button", class: "cd-gone", "aria-label": "remove this condition" }, "×");
        gone.addEventListener("click", () => { rows.splice(index, 1); redraw(); });
        line.append(gone);
        box.append(line);
      });
      const more = element("button", { type: "button", class: "cd-more" }, rows.length ? "and …" : "only when …");
      more.addEventListener("click", () => { rows.push(first("has_image")); redraw(); });
      box.append(more);
    };
    const redraw = () => { save(); draw(); };
    draw();
  };

  const all = (root) => root.querySelectorAll("textarea[data-conditions]").forEach(start);
  document.addEventListener("DOMContentLoaded", () => all(document));
  document.addEventListener("formset:added", (event) => all(event.target));
})();
