// Where the inference thread begins: the compiled file in dist/, or from source a stub that loads TypeScript first.
// On Node 20 a thread does not inherit the loader that tests and development run with.

/** The entry of the inference thread, as `new Worker()` takes it. */
export function threadEntry(): URL {
  if (import.meta.url.endsWith('.js')) return new URL('./inference-thread.js', import.meta.url);
  const loader = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  const thread = JSON.stringify(new URL('./inference-thread.ts', import.meta.url).href);
  const stub = `import { register } from ${loader}; register(); await import(${thread});`;
  return new URL(`data:text/javascript,${encodeURIComponent(stub)}`);
}
