// node -e THIS NODE_MODULES OBJECT.json: holds a custom resource against the schema of its definition.
//
// The packages check what they know and pass over the rest, as an API server would drop it. So the object is watched while
// it is checked: a field that nobody asked for is not in the schema.
const [modules, file] = process.argv.slice(1);
const fs = require("fs");
const path = require("path");

const PACKAGES = { "argoproj.io": "argo-cd", "external-secrets.io": "external-secrets", "bitnami.com": "sealed-secrets" };
const object = JSON.parse(fs.readFileSync(file, "utf8"));
const [group, version] = object.apiVersion.split("/");
const folder = path.join(modules, "@kubernetes-models", PACKAGES[group], "_schemas");
const ending = version[0].toUpperCase() + version.slice(1) + object.kind + ".js";
const [schema] = fs.readdirSync(folder).filter((name) => name.endsWith(ending));
if (!schema) {
  console.error(`no schema of ${object.apiVersion} ${object.kind}`);
  process.exit(1);
}
// By its path: the packages export their models alone.
const { validate } = require(path.join(folder, schema));

// What may be in them is up to the file.
const FREE = /^\/spec\/generators\/\d+\/list\/elements\//;

const asked = new Set();
function watched(value, place) {
  if (value === null || typeof value !== "object") return value;
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "symbol") return target[key];
      asked.add(`${place}/${key}`);
      return watched(target[key], `${place}/${key}`);
    },
  });
}
function fields(value, place) {
  if (value === null || typeof value !== "object") return [];
  return Object.entries(value).flatMap(([key, inner]) => [`${place}/${key}`, ...fields(inner, `${place}/${key}`)]);
}

if (!validate(watched(object, ""))) {
  console.error(validate.errors.map((error) => `${error.instancePath}: ${error.keyword}`).join("\n"));
  process.exit(1);
}
const unknown = fields(object, "").filter((place) => !asked.has(place) && !FREE.test(place));
if (unknown.length > 0) {
  console.error(`not in the schema: ${unknown.join(", ")}`);
  process.exit(1);
}
