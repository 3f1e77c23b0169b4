// The prompt's editor: keeps the draft, shows what would be sent, tries it, and saves versions. Text is only ever set as
// text, never as markup.
"use strict";
(() => {
  const root = document.getElementById("write");
  const state = JSON.parse(document.getElementById("state").textContent);
  const byId = (id) => document.getElementById(id);
  const made = (tag, className, text) => Object.assign(document.createElement(tag), { className: className || "", textContent: text || "" });
  const ROLES = ["system", "developer", "user", "assistant", "tool"];
  const JSONS = ["parameters", "input_schema", "response_format", "tools"];
  let messages = state.words.messages.map((message) => ({ ...message }));
  let sample = state.sample || {};
  let rendered = null;
  let timer = 0;

  function editor(label, text, changed) {
    const box = made("div", "pr-edit");
    window.TollgateEditor.make({ parent: box, text, label, changed: (value) => { changed(value); soon(); } });
    return box;
  }

  function draw() {
    const list = byId("messages");
    list.replaceChildren(...messages.map((message, at) => {
      const whole = made("div"), head = made("div", "pr-role"), remove = made("button", "tg-button", "Remove");
      remove.type = "button";
      remove.addEventListener("click", () => { messages.splice(at, 1); draw(); soon(); });
      if (message.placeholder) {
        const name = Object.assign(made("input", "pr-input"), { value: message.placeholder });
        name.setAttribute("aria-label", "Input that holds the history");
        name.addEventListener("input", () => { message.placeholder = name.value; soon(); });
        head.append(made("span", "tg-quiet", "History from"), name, remove);
        whole.append(head);
        return whole;
      }
      const role = made("select", "tg-select");
      role.setAttribute("aria-label", `Role of message ${at + 1}`);
      role.append(...ROLES.map((each) => new Option(each, each, false, each === message.role)));
      role.addEventListener("change", () => { message.role = role.value; soon(); });
      head.append(role, remove);
      const isText = typeof message.content === "string";
      const text = isText ? message.content : JSON.stringify(message.content, null, 2);
      whole.append(head, editor(`Message ${at + 1}`, text, (value) => {
        message.content = value;
        if (!isText) try { message.content = JSON.parse(value); } catch { message.content = value; }
      }));
      return whole;
    }));
  }

  function words() {
    const said = { messages, route: byId("route").value.trim() };
    for (const name of JSONS) {
      const text = byId(name).value.trim();
      if (!text) continue;
      try { said[name] = JSON.parse(text); } catch { throw new Error(`${name} is no valid JSON.`); }
    }
    return said;
  }

  async function ask(deed, body) {
    const headers = { "content-type": "application/json", "x-csrftoken": root.querySelector("[name=csrfmiddlewaretoken]").value };
    const answer = await fetch(`${root.dataset.url}${deed}/`, { method: "POST", headers, body: JSON.stringify(body) });
    const told = await answer.json().catch(() => ({ errors: ["The gateway did not answer. Your text is still here."] }));
    return { ok: answer.ok, status: answer.status, ...told };
  }

  function drawInputs(names, required) {
    const list = byId("inputs");
    const drawn = `${names.join()}|${required.join()}`;
    if (list.dataset.names === drawn) return;
    list.dataset.names = drawn;
    if (!names.length) { list.replaceChildren(made("p", "tg-quiet", "Write {{name}} in a message, and it is an input.")); return; }
    list.replaceChildren(...names.map((name) => {
      const label = made("label", "tg-quiet", required.includes(name) ? name : `${name} (may be left out)`), area = made("textarea", "pr-input");
      const value = sample[name];
      area.rows = 2;
      area.value = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
      area.addEventListener("input", () => {
        if (area.value === "") delete sample[name];
        else if (/^\s*[[{]/.test(area.value)) try { sample[name] = JSON.parse(area.value); } catch { sample[name] = area.value; }
        else sample[name] = area.value;
        soon();
      });
      label.append(area);
      return label;
    }));
  }

  // One at a time: a second that went out before the first came back would be told that another window keeps the draft.
  let running = null, again = false, saving = false;
  function refresh() {
    if (saving) return;
    if (running) { again = true; return; }
    running = look().catch(() => { byId("kept").textContent = "The gateway can't be reached: the draft is not kept yet."; soon(5000); }).finally(() => { running = null; if (again) { again = false; soon(); } });
  }

  async function look() {
    let said;
    byId("trouble").textContent = "";
    try { said = words(); } catch (error) { byId("trouble").textContent = error.message; return; }
    const shown = await ask("preview", { words: said, sample });
    byId("trouble").textContent = (shown.errors || []).join(" ");
    if (shown.inputs) drawInputs(shown.inputs, shown.required || []);
    byId("warnings").replaceChildren(...(shown.warnings || []).map((each) => made("li", "", each)));
    rendered = shown.messages || null;
    byId("tokens").textContent = shown.tokens === undefined ? "" : `about ${shown.tokens} tokens`;
    if (shown.tokens !== undefined) estimate(said, shown.tokens);
    if (rendered) byId("preview").replaceChildren(...rendered.map((message) => {
      const whole = made("div");
      whole.append(made("div", "tg-quiet", message.role), made("div", "pr-said", typeof message.content === "string" ? message.content : JSON.stringify(message.content, null, 2)));
      return whole;
    }));
    const kept = await ask("draft", { words: said, sample, rev: state.rev, base: state.base });
    if (kept.ok) { state.rev = kept.rev; byId("kept").textContent = "Draft kept."; } else { byId("kept").textContent = (kept.errors || []).join(" "); }
  }

  async function estimate(said, tokens) {
    const output = (said.parameters || {}).max_completion_tokens || (said.parameters || {}).max_tokens || 500;
    const asked = new URLSearchParams({ model: chosen()[0].model, input_tokens: tokens, output_tokens: output });
    const answer = await fetch(`${root.dataset.estimate}?${asked}`);
    if (!answer.ok) return;
    const { models } = await answer.json();
    if (models.length) byId("tokens").textContent = `about ${tokens} tokens in · ${models.map((each) => `${each.model}: $${each.cost_usd}`).join(", ")} with ${output} out`;
  }

  function soon(wait = 350) { clearTimeout(timer); timer = setTimeout(refresh, wait); }

  let anyway = false;
  async function save() {
    byId("wrong").textContent = "";
    let said;
    try { said = words(); } catch (error) { byId("wrong").textContent = error.message; return; }
    clearTimeout(timer);
    if (saving) return;
    saving = true;
    await running; // a draft that is kept after the version was saved would come up again as if it were newer
    const unreached = { errors: ["The gateway can't be reached. Your text is still here: save again."] };
    const saved = await ask("save", { words: said, base: state.base, message: byId("message").value, anyway }).catch(() => unreached);
    if (saved.ok) { window.location.assign(saved.url); return; }
    saving = false;
    anyway = saved.status === 409;
    byId("wrong").textContent = (saved.errors || []).join(" ");
  }

  // What is tried: up to three lines, each a model, a version (v3) or both (v3 chat). Empty: the draft on its own route.
  function chosen() {
    const route = byId("route").value.trim() || "chat";
    const lines = [...byId("models").querySelectorAll("input")].map((each) => each.value.trim()).filter(Boolean);
    return (lines.length ? lines : [""]).map((line) => {
      const words = line.split(/\s+/), version = (words.find((each) => /^v?\d+$/.test(each)) || "").replace("v", "");
      return { line: line || route, version, model: words.find((each) => !/^v?\d+$/.test(each)) || (version ? "" : route) };
    });
  }

  function bodyOf(choice, said) {
    if (choice.version) {
      const model = choice.model || `prompt/${root.dataset.prompt}@${choice.version}`;
      return { model, prompt: `${root.dataset.prompt}@${choice.version}`, inputs: sample, messages: [], stream: true };
    }
    const body = { ...(said.parameters || {}), model: choice.model, messages: rendered, stream: true };
    for (const name of ["tools", "response_format"]) if (said[name]) body[name] = said[name];
    return body;
  }

  async function tryOne(choice, key, said, target) {
    const head = { "content-type": "application/json", authorization: `Bearer ${key}` };
    const body = { ...bodyOf(choice, said), stream_options: { include_usage: true } };
    const answer = await fetch("/v1/chat/completions", { method: "POST", headers: head, body: JSON.stringify(body) });
    if (!answer.ok) { const told = await answer.json(); throw new Error(told.error.message); }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "", usage = null;
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return { usage, model: answer.headers.get("x-tollgate-model") || choice.line };
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) {
        const data = event.replace(/^data: ?/, "");
        if (data === "[DONE]" || data.startsWith(":")) continue;
        const chunk = JSON.parse(data);
        if (chunk.error) throw new Error(chunk.error.message);
        usage = chunk.usage || usage;
        const delta = (chunk.choices[0] || {}).delta || {};
        target.append(delta.content || "");
        for (const each of delta.tool_calls || []) target.append((each.function.name ? `${each.function.name} ` : "") + (each.function.arguments || ""));
      }
    }
  }

  function tryAll() {
    const key = byId("key").value.trim(), list = byId("tries"), choices = chosen();
    if (!key) { list.replaceChildren(made("p", "tg-warn", "Write an API key of this workspace first.")); byId("key").focus(); return; }
    if (!rendered && choices.some((each) => !each.version)) { list.replaceChildren(made("p", "tg-warn", "Give the inputs first, so that there is something to send.")); return; }
    let said;
    try { said = words(); } catch (error) { list.replaceChildren(made("p", "tg-warn", error.message)); return; }
    list.replaceChildren(...choices.map((choice) => {
      const whole = made("div"), text = made("div", "pr-said"), began = performance.now(), head = made("div", "tg-quiet", choice.line);
      whole.setAttribute("aria-live", "polite");
      whole.append(head, text);
      tryOne(choice, key, said, text).then(({ usage, model }) => {
        const cost = usage && usage.cost_usd !== undefined ? ` · $${usage.cost_usd}` : "", tokens = usage ? ` · ${usage.prompt_tokens} in, ${usage.completion_tokens} out` : "";
        head.textContent = `${choice.line} · ${model} · ${((performance.now() - began) / 1000).toFixed(1)} s${tokens}${cost}`;
      }, (error) => { text.className = "pr-said tg-bad"; text.textContent = error.message; });
      return whole;
    }));
  }

  byId("route").value = state.words.route || "";
  for (const name of JSONS) {
    const value = state.words[name];
    byId(name).value = value && Object.keys(value).length ? JSON.stringify(value, null, 2) : "";
  }
  for (const name of ["route", ...JSONS]) byId(name).addEventListener("input", soon);
  byId("add").addEventListener("click", () => { messages.push({ role: "user", content: "" }); draw(); soon(); });
  byId("history").addEventListener("click", () => { messages.push({ placeholder: "history" }); draw(); soon(); });
  byId("save").addEventListener("click", save);
  byId("try").addEventListener("click", tryAll);
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey)) return;
    if (event.key === "s") { event.preventDefault(); save(); }
    if (event.key === "Enter") { event.preventDefault(); tryAll(); }
  });
  draw();
  drawInputs([], []);
  refresh();
})();
