/** Walks the OpenAPI document as it is served: the fields and parameters of its calls. */

export interface Named {
  /** Of a field within others: `lines[].item_id`. */
  name: string;
  description?: string;
}
interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
  items?: Schema;
}
type Content = Record<string, { schema: Schema }>;
interface Operation {
  operationId: string;
  parameters?: (Named & { $ref?: string })[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
}
export interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

export const operationsOf = ({ paths }: Document): Operation[] =>
  Object.values(paths).flatMap((methods) => Object.values(methods));

/** What a call takes and answers, beside problems. */
export const eachField = (document: Document): Named[] =>
  operationsOf(document).flatMap(({ parameters = [], requestBody, responses }) => [
    ...parameters.filter(({ $ref }) => !$ref),
    ...[requestBody, responses[200], responses[201]].flatMap((one) =>
      Object.values(one?.content ?? {}).flatMap(({ schema }) => fieldsIn(schema)),
    ),
  ]);

export const fieldsIn = ({ properties = {}, items }: Schema, before = ''): Named[] => [
  ...Object.entries(properties).flatMap(([key, schema]) => {
    const { description } = schema;
    const own = { name: before + key, ...(description !== undefined && { description }) };
    return [own, ...fieldsIn(schema, `${before}${key}.`)];
  }),
  ...(items ? fieldsIn(items, before.replace(/\.$/, '[].')) : []),
];
