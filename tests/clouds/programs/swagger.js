// Google's discovery document of Compute Engine as a Swagger document for prism, in which a field that is not described is
// wrong. usage: node swagger.js compute.v1.json OUT.json
const fs = require("fs");
const path = require("path");
const convert = require(path.join(process.cwd(), "node_modules", "google-discovery-to-swagger"));
const swagger = convert.convert(JSON.parse(fs.readFileSync(process.argv[2])));
swagger.schemes = ["http"];
swagger.consumes = ["application/json"];
// Prism serves paths only.
swagger.paths = Object.fromEntries(Object.entries(swagger.paths).map(([at, item]) => [swagger.basePath + at, item]));
swagger.basePath = "/";
for (const schema of Object.values(swagger.definitions)) {
  if (schema.properties && !schema.additionalProperties) schema.additionalProperties = false;
}
fs.writeFileSync(process.argv[3], JSON.stringify(swagger));
