// An MCP client on the official TypeScript SDK that does what standard input says, one JSON object a line, and tells all
// that it hears on standard output.
import { createInterface } from 'node:readline';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CallToolResultSchema, LoggingMessageNotificationSchema, ResourceUpdatedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';

const [url, token] = process.argv.slice(2);
const tell = what => process.stdout.write(JSON.stringify(what) + '\n');

// The SDK keeps to itself which event came on which stream; that is read off the wire. A resumed stream begins with the id
// that it goes on from, which is no news.
const known = new Set();
const fetchAndTell = async (input, init) => {
  const response = await fetch(input, init);
  if (!response.body || !response.headers.get('content-type')?.startsWith('text/event-stream')) return response;
  const decoder = new TextDecoder();
  let rest = '';
  let id;
  const tap = new TransformStream({
    transform(chunk, controller) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line.startsWith('id: ')) id = line.slice(4);
        if (line.startsWith('data: ') && id) {
          const message = line.length > 6 ? JSON.parse(line.slice(6)) : undefined;
          if (message || !known.has(id)) tell({ event: id, message: message ?? {} });
          known.add(id);
          id = undefined;
        }
      }
      controller.enqueue(chunk);
    },
  });
  return new Response(response.body.pipeThrough(tap), { status: response.status, headers: response.headers });
};

const transport = new StreamableHTTPClientTransport(new URL(url), {
  fetch: fetchAndTell,
  requestInit: { headers: { Authorization: `Bearer ${token}` } },
});
const client = new Client({ name: 'replicas', version: '1' });
client.setNotificationHandler(LoggingMessageNotificationSchema, n => tell({ log: n.params }));
client.setNotificationHandler(ResourceUpdatedNotificationSchema, n => tell({ updated: n.params.uri }));
client.onerror = error => tell({ trouble: String(error) });

const actions = {
  call: ({ id, name, args }) =>
    client.request({ method: 'tools/call', params: { name, arguments: args } }, CallToolResultSchema, {
      timeout: 90_000,
      onprogress: progress => tell({ progress, id }),
    }),
  subscribe: ({ uri }) => client.subscribeResource({ uri }),
  level: ({ level }) => client.setLoggingLevel(level),
  read: ({ uri }) => client.readResource({ uri }),
  end: async () => {
    await transport.terminateSession();
    await client.close();
    input.close();
  },
};

const input = createInterface({ input: process.stdin });
await client.connect(transport);
tell({ session: transport.sessionId });
for await (const line of input) {
  const order = JSON.parse(line);
  actions[order.do](order).then(
    result => tell({ answer: result ?? {}, id: order.id }),
    error => tell({ failure: String(error), id: order.id }),
  );
}
