/**
 * What a node's schema in Python cannot say: a menu entry on nodes that give images, the last run's report on a node, its video in
 * place of the preview, and inputs that are greyed where they do not apply. The nodes work without it.
 */

import { app } from "../../scripts/app.js";

/** Where the host has dynamic inputs, those of a size that do not apply are not there. */
const SIZE = {
  "size.factor": ["size", ["factor"]],
  "size.pixels": ["size", ["longest side", "shortest side"]],
  "size.width": ["size", ["width and height"]],
  "size.height": ["size", ["width and height"]],
  "size.fit": ["size", ["width and height"]],
  "size.megapixels": ["size", ["megapixels"]],
  "size.filter": ["size", ["factor", "longest side", "shortest side", "width and height", "megapixels"]],
};

/** Of a node, the inputs that apply only where another input has one of these values. */
const CONDITIONS = {
  LoadSPANModel: { mean_and_range: ["normalise", ["custom"]] },
  SPANUpscale: SIZE,
  SPANUpscaleVideo: { ...SIZE, quality: ["codec", ["auto", "h264", "hevc", "av1", "vp9"]] },
};

/** The nodes that say something of a run, in the `text` of what they show. */
const REPORTING = ["SPANUpscale", "SPANUpscaleVideo", "SPANModelInfo"];

/** Name of the widget with the report, and of the property in which a workflow keeps it. */
const REPORT = "last run";

/** In pixels of the graph: between nodes, of a line of a report, and around it. */
const [GAP, LINE, MARGIN] = [60, 14, 46];

app.registerExtension({
  name: "span-upscale",

  nodeCreated(node) {
    if (CONDITIONS[node.comfyClass]) greyWhatDoesNotApply(node, CONDITIONS[node.comfyClass]);
    if (REPORTING.includes(node.comfyClass)) showReports(node);
    if (node.comfyClass === "SPANUpscaleVideo") after(node, "onExecuted", () => dropPreview(node));
    // Frontends before 1.29 do not ask extensions for entries of a node's menu, but nodes.
    if (!app.collectNodeMenuItems) after(node, "getExtraMenuOptions", (_, options) => options.push(...menuItems(node)));
  },

  getNodeMenuItems: menuItems,
});

/** Calls a function each time after a method of an object, with the same arguments. */
function after(object, method, then) {
  const own = object[method];
  object[method] = function (...values) {
    const result = own?.apply(this, values);
    then(...values);
    return result;
  };
}

function menuItems(node) {
  const slot = node.outputs?.findIndex((output) => output.type === "IMAGE") ?? -1;
  return slot < 0 ? [] : [{ content: "Upscale with SPAN", callback: () => addUpscaler(node, slot) }];
}

/** Adds the two nodes on the right, the loader below the new link. Links that the output had stay as they are. */
function addUpscaler(node, slot) {
  const { graph } = node;
  const [loader, upscaler] = ["LoadSPANModel", "SPANUpscale"].map((type) => LiteGraph.createNode(type));
  const left = node.pos[0] + node.size[0] + GAP;
  loader.pos = [left, node.pos[1] + 1.5 * GAP];
  upscaler.pos = [left + loader.size[0] + GAP, node.pos[1]];
  graph.beforeChange();
  graph.add(loader);
  graph.add(upscaler);
  loader.connect(0, upscaler, "upscale_model");
  node.connect(slot, upscaler, "image");
  graph.afterChange();
  app.canvas.selectItems([loader, upscaler]);
}

function greyWhatDoesNotApply(node, conditions) {
  const widget = (name) => node.widgets?.find((one) => one.name === name);
  const linked = (name) => node.inputs?.some((input) => input.widget?.name === name && input.link != null);
  const update = () => {
    for (const [name, [by, values]] of Object.entries(conditions)) {
      const [dependent, choice] = [widget(name), widget(by)];
      if (dependent && choice) dependent.disabled = !linked(by) && !values.includes(choice.value);
    }
    node.setDirtyCanvas(true);
  };
  for (const by of new Set(Object.values(conditions).map(([name]) => name))) {
    if (widget(by)) after(widget(by), "callback", update);
  }
  after(node, "onConfigure", update);
  after(node, "onConnectionsChange", update);
  update();
}

function showReports(node) {
  after(node, "onExecuted", (output) => {
    const text = output?.text?.[0];
    if (text === undefined) return;
    node.properties[REPORT] = text;
    show(node, text);
  });
  after(node, "onConfigure", () => {
    if (node.properties[REPORT]) show(node, node.properties[REPORT]);
  });
}

/**
 * Ends the preview of a run. The frontend would show that in place of the video, and has no public way to end it: newer ones have one
 * in a store, which is reached by way of Pinia; older ones keep previews in the app alone.
 */
function dropPreview(node) {
  const id = node.graph.isRootGraph === false ? `${node.graph.id}:${node.id}` : String(node.id);
  app.extensionManager?._p?._s.get("nodeOutput")?.revokePreviewsByLocatorId?.(id);
  delete app.nodePreviewImages?.[id];
  node.imgs = undefined;
  node.widgets?.filter((widget) => widget.name === "$$canvas-image-preview").forEach((widget) => node.removeWidget(widget));
  node.setDirtyCanvas(true, true);
}

/** Shows a text on a node, in the place of what the frontend has shown of it, since that does not outlive a reload. */
function show(node, text) {
  node.widgets
    ?.filter((widget) => widget.name !== REPORT && widget.value === text)
    .forEach((widget) => node.removeWidget(widget));
  const widget = node.widgets?.find((one) => one.name === REPORT) ?? addReport(node);
  widget.value = text;
  widget.options.getMinHeight = () => MARGIN + LINE * text.split("\n").length;
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

function addReport(node) {
  const { widget } = app.widgets.STRING(node, REPORT, ["STRING", { multiline: true }], app);
  widget.element.readOnly = true;
  widget.options.read_only = true; // for frontends that draw it themselves
  widget.serialize = false; // not among the values of the workflow
  widget.options.serialize = false; // nor of the prompt
  return widget;
}
