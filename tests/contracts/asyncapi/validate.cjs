// Prints what the AsyncAPI parser says about a document, as JSON: its diagnostics, and the payloads that it parsed.
// node validate.cjs FILE; exit code 1 when the parser reports an error or a warning.
const { Parser, DiagnosticSeverity, fromFile } = require("@asyncapi/parser");
const { AvroSchemaParser } = require("@asyncapi/avro-schema-parser");

async function main(file) {
  const parser = new Parser();
  parser.registerSchemaParser(AvroSchemaParser());
  const { document, diagnostics } = await fromFile(parser, file).parse();
  const told = diagnostics.map(({ severity, code, message, path }) => ({
    severity: DiagnosticSeverity[severity],
    code,
    message,
    path: path.join("."),
  }));
  const messages = document ? document.allMessages().all() : [];
  const fields = Object.fromEntries(
    messages.map((message) => [message.name(), Object.keys(message.payload()?.properties() ?? {})]),
  );
  console.log(JSON.stringify({ diagnostics: told, fields }, null, 2));
  return told.some(({ severity }) => severity === "Error" || severity === "Warning") || !document;
}

main(process.argv[2]).then((isBad) => process.exit(isBad ? 1 : 0));
