// Generates src/proto/messages.{js,d.ts} from the .proto files beside it. Run by `npm run generate`.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pbjs from 'protobufjs-cli/pbjs.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = fileURLToPath(new URL('../src/proto/messages.js', import.meta.url));
const sources = readdirSync(here)
  .filter((name) => name.endsWith('.proto'))
  .sort()
  .map((name) => `${here}${name}`);

mkdirSync(fileURLToPath(new URL('../src/proto', import.meta.url)), { recursive: true });
const flags =
  '-t static-module -w esm --dts --null-semantics --no-verify --no-convert --no-delimited --no-typeurl --no-service';
await promisify(pbjs.main)([
  ...flags.split(' '),
  '--dependency',
  'protobufjs/minimal.js',
  '-o',
  out,
  ...sources,
]);

// The declaration file comes with a CommonJS import, which an ES module cannot have.
const types = out.replace(/\.js$/, '.d.ts');
writeFileSync(
  types,
  readFileSync(types, 'utf8').replace('import Long = require("long");', "import type Long from 'long';"),
);
