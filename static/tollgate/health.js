// Draws providers' health, and colours the picture of a chain, whenever the websocket tells of a change.
(() => {
  const WORST_FIRST = ["open", "half_open", "cooling", "unused", "closed"];
  const WORDS = { closed: "working", cooling: "asked to wait", open: "down", half_open: "being tried", unused: "not asked yet", off: "off" };
  const live = document.getElementById("hl-live");
  const grid = document.getElementById("hl-places");

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const fact = (list, name, value) => {
    const pair = element("div", "");
    pair.append(element("dt", "", name), element("dd", "", value));
    list.append(pair);
  };

  const ms = (value) => (value === null ? "–" : value < 1000 ? `${value} ms` : `${(value / 1000).toFixed(1)} s`);

  const card = (place) => {
    const made = element("section", "tg-card hl-place");
    made.dataset.state = place.state;
    const head = element("div", "hl-head");
    const name = element("span", "hl-name");
    name.append(element("i", "hl-dot"), element("strong", "", place.model));
    head.append(name, element("span", "hl-state", WORDS[place.state]));
    const where = place.credential ? `${place.provider} · ${place.credential}` : place.provider;
    const facts = element("dl", "hl-facts");
    fact(facts, "Errors", place.failed_share === null ? "–" : `${Math.round(place.failed_share * 100)} % of ${place.calls}`);
    fact(facts, "Half within", ms(place.p50_ms));
    fact(facts, "95 % within", ms(place.p95_ms));
    made.append(head, element("span", "tg-quiet", where), facts);
    if (place.why) made.append(element("p", "tg-quiet", place.why));
    if (place.history.length) {
      const history = element("ol", "hl-history");
      for (const change of [...place.history].reverse()) {
        const at = new Date(change.at * 1000).toLocaleTimeString();
        history.append(element("li", "", `${at} ${WORDS[change.state]}: ${change.why}`));
      }
      made.append(history);
    }
    return made;
  };

  const draw = (places) => {
    if (grid) grid.replaceChildren(...places.map(card));
    const best = new Map();
    for (const { model, state } of places) {
      const before = best.get(model) ?? "open";
      best.set(model, WORST_FIRST.indexOf(state) > WORST_FIRST.indexOf(before) ? state : before);
    }
    for (const node of document.querySelectorAll(".hl-node[data-model]")) {
      node.dataset.state = best.get(node.dataset.model) ?? node.dataset.state;
      node.querySelector(".hl-state").textContent = WORDS[node.dataset.state];
    }
  };

  const say = (isOn) => {
    live.dataset.on = isOn ? "yes" : "no";
    live.textContent = isOn ? "live" : "not connected; what is shown may be old";
  };

  const connect = () => {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/health/`);
    socket.onopen = () => say(true);
    socket.onmessage = (message) => draw(JSON.parse(message.data));
    socket.onclose = (event) => {
      say(false);
      if (event.code !== 4403) setTimeout(connect, 2000);
    };
  };

  const first = document.getElementById("hl-data");
  draw(first ? JSON.parse(first.textContent) : []);
  if (live.dataset.socket) connect();
})();
