// Shows calls as they end: a picture of the last two minutes and the newest hundred, each with a link to its page.
(() => {
  const ROWS_MOST = 100;
  const SECONDS = 120;
  const BARS = 60;
  const KINDS = { answered: "answered", refused: "refused", client_left: "refused" };
  const byId = (id) => document.getElementById(id);
  const state = byId("lv-state");
  const rows = byId("lv-rows");
  const form = byId("lv-filters");
  const pause = byId("lv-pause");
  let lately = [];
  let kept = [];
  let skipped = 0;
  let socket = null;

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const dollars = (nanos) => (nanos === 0 ? "$0" : nanos >= 1e7 ? `$${(nanos / 1e9).toFixed(2)}` : `$${(nanos / 1e9).toPrecision(2)}`);
  const took = (us) => (us < 1000 ? `${us} µs` : us < 1e6 ? `${Math.round(us / 1000)} ms` : `${(us / 1e6).toFixed(1)} s`);
  const kind = (call) => KINDS[call.outcome] ?? "failed";

  const cell = (label, first, second, className) => {
    const made = element("td", className);
    made.dataset.label = label;
    made.append(first instanceof Node ? first : element("span", "", first));
    if (second) made.append(" ", element("span", "tg-quiet", second));
    return made;
  };

  const row = (call) => {
    const made = element("tr", "lv-new");
    const link = element("a", "rec-link", new Date((call.at_us + call.us) / 1000).toISOString().slice(11, 19));
    link.href = rows.dataset.callUrl.replace("CALL", encodeURIComponent(call.id));
    const model = [call.provider, call.route && call.route !== call.model ? call.route : "", call.attempts > 1 ? `${call.attempts} attempts` : ""];
    const how = call.outcome !== "answered" ? `${call.status || ""} ${call.code}` : call.cache.startsWith("hit") ? "from the cache" : "";
    made.append(
      cell("Ended", link),
      cell("Who", call.workspace || "–", call.key),
      cell("Model", call.model || "–", model.filter(Boolean).join(" · ")),
      cell("How", element("span", `rec-badge rec-${call.outcome}`, call.outcome.replace("_", " ")), how),
      cell("Tokens", `${call.input_tokens} → ${call.output_tokens}`, "", "rec-number"),
      cell("Cost", dollars(call.cost_nanos), "", "rec-number"),
      cell("Took", took(call.us), "", "rec-number"),
    );
    return made;
  };

  const show = (calls) => {
    if (!calls.length) return;
    byId("lv-empty").hidden = true;
    byId("lv-card").hidden = false;
    rows.prepend(...calls.slice(-ROWS_MOST).reverse().map(row));
    while (rows.children.length > ROWS_MOST) rows.lastElementChild.remove();
  };

  const draw = () => {
    const now = Date.now() / 1000;
    lately = lately.filter((call) => call.seen > now - SECONDS);
    const bars = Array.from({ length: BARS }, () => ({ answered: 0, refused: 0, failed: 0 }));
    for (const call of lately) {
      bars[Math.min(BARS - 1, Math.max(0, BARS - 1 - Math.floor(((now - call.seen) * BARS) / SECONDS)))][call.kind] += call.count;
    }
    const most = Math.max(1, ...bars.map((bar) => bar.answered + bar.refused + bar.failed));
    byId("lv-bars").replaceChildren(
      ...bars.map((bar) => {
        const made = element("div", "lv-bar");
        for (const name of ["answered", "refused", "failed"]) {
          if (!bar[name]) continue;
          const part = element("i", `rec-${name}`);
          part.style.height = `${Math.max(2, (bar[name] * 100) / most)}%`;
          made.append(part);
        }
        return made;
      }),
    );
    const count = (calls) => calls.reduce((sum, call) => sum + call.count, 0);
    const whole = count(lately);
    const answered = lately.filter((call) => call.kind === "answered");
    const times = answered.filter((call) => call.us !== null).map((call) => call.us).sort((one, two) => one - two);
    byId("lv-rate").textContent = (count(lately.filter((call) => call.seen > now - 10)) / 10).toFixed(1);
    byId("lv-answered").textContent = whole ? `${Math.floor((count(answered) * 1000) / whole) / 10} %` : "–";
    byId("lv-median").textContent = times.length ? took(times[Math.floor((times.length - 1) / 2)]) : "–";
    byId("lv-spend").textContent = dollars(lately.reduce((sum, call) => sum + call.nanos, 0));
  };

  const take = ({ calls, skipped: unseen }) => {
    const seen = Date.now() / 1000;
    for (const call of calls) lately.push({ seen, kind: kind(call), us: call.us, nanos: call.cost_nanos, count: 1 });
    skipped += unseen;
    if (pause.getAttribute("aria-pressed") === "true") {
      kept = [...kept, ...calls].slice(-ROWS_MOST);
      pause.textContent = `Go on (${kept.length}${kept.length === ROWS_MOST ? " or more" : ""} waiting)`;
    } else {
      show(calls);
    }
    say(true);
    draw();
  };

  const say = (isOn) => {
    state.dataset.on = isOn ? "yes" : "no";
    state.textContent = !isOn ? "not connected; trying again" : skipped ? `live; ${skipped} calls came too fast to be shown` : "live";
  };

  const wanted = () => Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
  const ask = () => socket && socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(wanted()));

  const connect = () => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/calls/`);
    socket.onopen = () => { ask(); say(true); };
    socket.onmessage = (message) => take(JSON.parse(message.data));
    socket.onclose = (event) => {
      say(false);
      if (event.code === 4403) state.textContent = "You may not see calls any more.";
      else setTimeout(connect, 2000);
    };
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    lately = [];
    kept = [];
    rows.replaceChildren();
    byId("lv-card").hidden = true;
    byId("lv-empty").hidden = false;
    history.replaceState(null, "", `?${new URLSearchParams(wanted())}`);
    ask();
    draw();
  });
  pause.addEventListener("click", () => {
    const isPaused = pause.getAttribute("aria-pressed") === "true";
    pause.setAttribute("aria-pressed", String(!isPaused));
    pause.textContent = isPaused ? "Pause" : "Go on";
    if (isPaused) {
      show(kept);
      kept = [];
    }
  });
  setInterval(draw, 1000);
  draw();
  if (state.dataset.socket) connect();
})();
