// What the libraries expect of a browser while they are loaded.
globalThis.window = globalThis;
globalThis.self = globalThis;
globalThis.addEventListener = () => {};
globalThis.location = { href: "http://localhost/" };
globalThis.document = {
  createElement: () => ({ getContext: () => null, style: {} }),
  addEventListener() {},
  body: {},
};
