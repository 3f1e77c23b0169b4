// What static/tollgate/codemirror.js is built from; see codemirror.md.
import { EditorState } from "@codemirror/state";
import { Decoration, EditorView, MatchDecorator, ViewPlugin, drawSelection, highlightSpecialChars, keymap } from "@codemirror/view";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";

const SIGNS = { "#": "pr-cm-section", "^": "pr-cm-section", "/": "pr-cm-section", ">": "pr-cm-partial", "!": "pr-cm-comment" };

function classOf(tag) {
  if (tag === "\\{{") return "pr-cm-literal";
  if (tag === "{{") return "pr-cm-broken";
  const inside = tag.slice(2, -2).trim();
  if (SIGNS[inside[0]]) return SIGNS[inside[0]];
  return /^(\.|[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*)$/.test(inside) ? "pr-cm-variable" : "pr-cm-broken";
}

const tags = new MatchDecorator({
  regexp: /\\\{\{|\{\{(?!\{)[^{}]*\}\}|\{\{(?!\{)/g,
  decoration: (match) => Decoration.mark({ class: classOf(match[0]) }),
});

const highlighting = ViewPlugin.fromClass(
  class {
    constructor(view) { this.decorations = tags.createDeco(view); }
    update(update) { this.decorations = tags.updateDeco(update, this.decorations); }
  },
  { decorations: (plugin) => plugin.decorations },
);

// An editor of a template in `parent`. changed(text) is called after each change. Tab moves on, as everywhere on a page.
function make({ parent, text, label, changed }) {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        history(),
        drawSelection(),
        highlightSpecialChars(),
        EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": label, spellcheck: "true" }),
        keymap.of([...defaultKeymap.filter((each) => each.key !== "Mod-Enter"), ...historyKeymap]),
        highlighting,
        EditorView.updateListener.of((update) => { if (update.docChanged) changed(update.state.doc.toString()); }),
      ],
    }),
  });
  return { focus: () => view.focus(), text: () => view.state.doc.toString() };
}

window.TollgateEditor = { make };
