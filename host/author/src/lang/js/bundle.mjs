// Makes one module of the author's files and all that they import, and prints the host's interfaces that are left in it, one a line,
// and warnings.
import { builtinModules, createRequire, SourceMap } from "node:module";
import { writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const needs = JSON.parse(process.argv[2]);
const esbuild = createRequire(join(needs.packages, "package.json"))("esbuild");
const ids = new Set(Object.values(needs.interfaces));

// `hotshoe` is the SDK, `hotshoe/vision` and `wasi:nn/graph` are the host's.
const host = {
  name: "hotshoe",
  setup(build) {
    build.onResolve({ filter: /^hotshoe$/ }, () => ({ path: join(needs.sdk, "index.js"), sideEffects: false }));
    build.onResolve({ filter: /^(hotshoe\/|[a-z0-9-]+:[a-z0-9-]+\/)/ }, ({ path, kind }) => {
      if (kind === "entry-point") return undefined;
      const id = needs.interfaces[path] ?? needs.interfaces[path.split("@")[0].replace("hotshoe:pipeline/", "hotshoe/")];
      if (id) return { path: id, external: true, sideEffects: false };
      return { errors: [{ text: `there is no "${path}"; there are: ${Object.keys(needs.interfaces).join(", ")}` }] };
    });
  },
};

let built;
try {
  built = await esbuild.build({
    entryPoints: [needs.entry],
    absWorkingDir: resolve(needs.folder),
    outfile: needs.out,
    bundle: true,
    write: false,
    metafile: true,
    sourcemap: "external",
    format: "esm",
    platform: "neutral",
    mainFields: ["module", "main"],
    // What QuickJS knows; esbuild translates newer syntax, such as `using`.
    target: "es2022",
    charset: "utf8",
    logLevel: "silent",
    plugins: [host],
  });
} catch (error) {
  // Its hints are about options that are not used here.
  const errors = (error.errors ?? [{ text: String(error) }]).map((found) => ({ ...found, text: clearer(found.text), notes: [], pluginName: "" }));
  const messages = await esbuild.formatMessages(errors, { kind: "error", color: false });
  process.stderr.write(messages.join("").trim() + "\n");
  process.exit(1);
}

const text = built.outputFiles.find((file) => file.path.endsWith(".js")).text;
const map = JSON.parse(built.outputFiles.find((file) => file.path.endsWith(".map")).text);
const lines = table(text, map);
writeFileSync(needs.out, `${text}\nglobalThis.hotshoeLines = ${JSON.stringify(lines)};\n`);
writeFileSync(`${needs.out}.map`, JSON.stringify(map));
const outputs = Object.values(built.metafile.outputs).flatMap((output) => output.imports ?? []);
for (const { path } of outputs) if (ids.has(path)) console.log(path);
for (const place of clocks(text, lines)) {
  console.log(`warning: ${place}: the clock is read during the build, so every instance gets the time of the build; read it in the function that gets the sample`);
}

// A clearer message for an import that the bundler cannot resolve.
function clearer(text) {
  const name = /^Could not resolve "(?:node:)?([^"]+)"$/.exec(text)?.[1];
  if (name === undefined) return text;
  if (!builtinModules.includes(name) && !builtinModules.includes(`node:${name}`)) {
    return `${text}: it is neither a file of the project nor a package in its node_modules; add the package with \`npm install\``;
  }
  return `"${name}" is a module of Node.js, which a component does not have; use hotshoe/data for files of the release, hotshoe/clock for the time, or a package that runs in browsers`;
}

// For the messages of exceptions: which of the author's lines each line of the bundle was. The SDK's own lines have none.
function table(text, map) {
  const lines = new SourceMap(map);
  const base = resolve(needs.out, "..");
  const files = [];
  const rows = text.split("\n").map((line, at) => {
    const found = lines.findEntry(at, line.length - line.trimStart().length);
    if (!found?.originalSource || found.generatedLine !== at) return 0;
    const path = resolve(base, found.originalSource);
    if (path.startsWith(resolve(needs.sdk)) || path.startsWith(base)) return 0;
    const name = relative(resolve(needs.folder), path);
    let file = files.indexOf(name);
    if (file < 0) file = files.push(name) - 1;
    return [file, found.originalLine + 1];
  });
  return { files, rows };
}

// The author's own lines that read the clock outside of any function. esbuild begins statements of a module at the margin.
function clocks(text, { files, rows }) {
  const reads = /^\S.*(\bDate\.now\(\)|\bnew Date\(\)|\bperformance\.now\(\))/;
  return text.split("\n").flatMap((line, at) => {
    if (!rows[at] || !reads.test(line) || /=>|\bfunction\b/.test(line)) return [];
    const [file, number] = rows[at];
    return files[file].includes("node_modules") ? [] : [`${files[file]}:${number}`];
  });
}
