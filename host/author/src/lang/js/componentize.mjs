// Puts a bundle and the engine into a component. An error names the author's own lines.
import { createRequire, SourceMap } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const needs = JSON.parse(process.argv[2]);
const { componentize } = createRequire(join(needs.packages, "package.json"))("componentize-qjs");

try {
  const { component } = await componentize({
    witPath: needs.wit,
    world: needs.world,
    jsSource: readFileSync(needs.bundle, "utf8"),
    jsPath: needs.bundle,
    moduleRoot: dirname(needs.bundle),
    stubWasi: needs.stub,
    sync: true,
  });
  writeFileSync(needs.out, component);
} catch (error) {
  process.stderr.write(shown(String(error.message ?? error)) + "\n");
  process.exit(1);
}

// The tool says several times over that it failed; the last time says why.
function shown(message) {
  const called = /unknown import: `([^`]+)`/.exec(message);
  if (called) {
    return `a module calls ${called[1]} while it is imported, during the build, when there is no host; call it in the function that gets the sample`;
  }
  const lines = new SourceMap(JSON.parse(readFileSync(`${needs.bundle}.map`, "utf8")));
  return message
    .trim()
    .replace(/^[: ]*(Failed to [^:]*: )*/, "")
    .replace(/[^\s()]*bundle\.js:([0-9]+)(?::([0-9]+))?/g, (all, line, column) => {
      const found = lines.findEntry(Number(line) - 1, Number(column ?? 1) - 1);
      if (!found?.originalSource) return all;
      return `${relative(process.cwd(), resolve(dirname(needs.bundle), found.originalSource))}:${found.originalLine + 1}`;
    });
}
