// Reads Messages streams with a client library and prints, for each, what its user would hold.
//
//   node read.mjs CLIENT < requests.json
//
// Standard input is a list of {key, url, patience, request}. A line of JSON leaves for each:
// {key, text, thinking, calls: [[name, input]], stop, usage: [input, output]}, {key, error} where the
// client raised, or {key, hung} where it still waited after `patience` seconds.

import { readFileSync } from 'node:fs';

const apiKey = 'none';
// Standard output is ours: what the libraries log belongs elsewhere.
console.log = console.info = console.warn = console.error;

const of = (content, type) => content.filter((block) => block.type === type);

// @anthropic-ai/sdk's own accumulation.
async function sdk({ url, request }, signal) {
  const { default: Anthropic } = await import('@anthropic-ai/sdk');
  const client = new Anthropic({ baseURL: url, apiKey, maxRetries: 0 });
  const message = await client.messages.stream(request, { signal }).finalMessage();
  const { content, stop_reason: stop, usage } = message;
  return {
    text: of(content, 'text').map((block) => block.text).join(''),
    thinking: of(content, 'thinking').map((block) => block.thinking).join(''),
    calls: of(content, 'tool_use').map(({ name, input }) => [name, input]),
    stop,
    usage: [usage.input_tokens, usage.output_tokens],
  };
}

async function ai_sdk({ url, request }, abortSignal) {
  const { createAnthropic } = await import('@ai-sdk/anthropic');
  const { jsonSchema, streamText, tool } = await import('ai');
  const provider = createAnthropic({ baseURL: `${url}/v1`, apiKey });
  const tools = Object.fromEntries(request.tools.map(({ name, description, input_schema: schema }) => [
    name, tool({ description, inputSchema: jsonSchema(schema) }),
  ]));
  const held = { text: '', thinking: '', calls: [], stop: null, usage: null };
  const { fullStream } = streamText({
    model: provider(request.model), messages: request.messages, tools, maxRetries: 0, abortSignal,
    onError: () => {},
  });
  for await (const part of fullStream) {
    if (part.type === 'abort') throw new Error('aborted');
    if (part.type === 'error') {
      throw part.error instanceof Error ? part.error : new Error(part.error.message ?? part.error);
    }
    if (part.type === 'text-delta') held.text += part.text;
    if (part.type === 'reasoning-delta') held.thinking += part.text;
    if (part.type === 'tool-call') held.calls.push([part.toolName, part.input]);
    if (part.type === 'finish') {
      held.stop = part.finishReason;
      held.usage = [part.totalUsage.inputTokens ?? null, part.totalUsage.outputTokens ?? null];
    }
  }
  return held;
}

const read = { sdk, ai_sdk }[process.argv[2]];
for (const asked of JSON.parse(readFileSync(0, 'utf8'))) {
  const signal = AbortSignal.timeout(asked.patience * 1000);
  let held;
  try {
    held = await read(asked, signal);
  } catch (error) {
    held = signal.aborted ? { hung: true } : { error: `${error?.constructor?.name}: ${error?.message}` };
  }
  process.stdout.write(`${JSON.stringify({ key: asked.key, ...held })}\n`);
}
// A client may still hold a connection that never ends.
process.exit();
