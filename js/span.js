/**
 * Adds to the nodes what a schema in Python cannot express: a menu entry on nodes with an image output, the report of the last run, the
 * video in place of its preview, and greyed inputs that do not apply. The nodes work without this file.
 */

import { app } from "../../scripts/app.js";

/** Hosts with dynamic inputs show only the settings that apply, so these names match nothing there. */
const SIZE = {
  "size.factor": ["size", ["factor"]],
  "size.pixels": ["size", ["longest side", "shortest side"]],
  "size.width": ["size", ["width and height"]],
  "size.height": ["size", ["width and height"]],
  "size.fit": ["size", ["width and height"]],
  "size.megapixels": ["size", ["megapixels"]],
  "size.filter": ["size", ["factor", "longest side", "shortest side", "width and height", "megapixels"]],
};

/** The inputs of a node that apply only while another input has one of the listed values. */
const CONDITIONS = {
  LoadSPANModel: { mean_and_range: ["normalise", ["custom"]] },
  SPANUpscale: SIZE,
  SPANUpscaleVideo: { ...SIZE, quality: ["codec", ["auto", "h264", "hevc", "av1", "vp9"]] },
};

/** The nodes that send a report or a warning, as the `text` of their output. */
const REPORTING = ["LoadSPANModel", "SPANUpscale", "SPANUpscaleVideo", "SPANModelInfo"];

/** The name of the report's widget, and of the property that keeps the report in a workflow. */
const REPORT = "last run";

/** In canvas pixels: the gap between nodes, the height of a line of a report, and the margin around the lines. */
const [GAP, LINE, MARGIN] = [60, 14, 46];

app.registerExtension({
  name: "span-upscale",

  nodeCreated(node) {
    if (CONDITIONS[node.comfyClass]) greyInputs(node, CONDITIONS[node.comfyClass]);
    if (REPORTING.includes(node.comfyClass)) showReports(node);
    if (node.comfyClass === "SPANUpscaleVideo") after(node, "onExecuted", () => dropPreview(node));
    // Frontends before 1.29 have no getNodeMenuItems; they take menu entries from the node itself.
    if (!app.collectNodeMenuItems) after(node, "getExtraMenuOptions", (_, options) => options.push(...menuItems(node)));
  },

  getNodeMenuItems: menuItems,
});

/** Calls a function after each call of a method, with the same arguments. */
function after(object, method, then) {
  const original = object[method];
  object[method] = function (...values) {
    const result = original?.apply(this, values);
    then(...values);
    return result;
  };
}

function menuItems(node) {
  const slot = node.outputs?.findIndex((output) => output.type === "IMAGE") ?? -1;
  return slot < 0 ? [] : [{ content: "Upscale with SPAN", callback: () => addUpscaler(node, slot) }];
}

/** Adds a loader and an upscaler to the right of a node and connects them. Existing links of the output stay. */
function addUpscaler(node, slot) {
  const { graph } = node;
  const [loader, upscaler] = ["LoadSPANModel", "SPANUpscale"].map((type) => LiteGraph.createNode(type));
  const left = node.pos[0] + node.size[0] + GAP;
  loader.pos = [left, node.pos[1] + 1.5 * GAP]; // below the new link
  upscaler.pos = [left + loader.size[0] + GAP, node.pos[1]];
  graph.beforeChange();
  graph.add(loader);
  graph.add(upscaler);
  loader.connect(0, upscaler, "upscale_model");
  node.connect(slot, upscaler, "image");
  graph.afterChange();
  app.canvas.selectItems([loader, upscaler]);
}

/** Greys the inputs that do not apply, now and whenever the inputs that they depend on change. */
function greyInputs(node, conditions) {
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

/** Shows the report of each run, and that of the last run when a workflow is opened. */
function showReports(node) {
  after(node, "onExecuted", (output) => {
    const text = output?.text?.[0];
    if (text === undefined) return;
    node.properties[REPORT] = text;
    if (text) show(node, text);
    else node.widgets?.filter((widget) => widget.name === REPORT).forEach((widget) => node.removeWidget(widget));
  });
  after(node, "onConfigure", () => {
    if (node.properties[REPORT]) show(node, node.properties[REPORT]);
  });
}

/**
 * Ends the preview of a run, which the frontend would show in place of the video. There is no public way to do this, so this function
 * alone uses private names: newer frontends keep previews in a store that is reached through Pinia (`_p._s`), older ones in
 * `app.nodePreviewImages` and a widget `$$canvas-image-preview`. If one of these changes, the preview hides the video.
 */
function dropPreview(node) {
  const id = node.graph.isRootGraph === false ? `${node.graph.id}:${node.id}` : String(node.id);
  app.extensionManager?._p?._s.get("nodeOutput")?.revokePreviewsByLocatorId?.(id);
  delete app.nodePreviewImages?.[id];
  node.imgs = undefined;
  node.widgets?.filter((widget) => widget.name === "$$canvas-image-preview").forEach((widget) => node.removeWidget(widget));
  node.setDirtyCanvas(true, true);
}

/** Shows a report in a widget of its own, in place of the frontend's progress text, which is lost on reload. */
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
  widget.options.read_only = true; // for frontends that draw the widget themselves
  widget.serialize = false; // keeps it out of the workflow's values
  widget.options.serialize = false; // and out of the prompt
  return widget;
}
