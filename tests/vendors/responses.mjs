// Reads answers of the Responses API with a JavaScript client and prints what its user would hold.
//
//   node responses.mjs CLIENT SECONDS < addresses.json
//
// Standard input is a list of {name, baseURL}; a line of JSON leaves for each: {name, text, answer,
// calls: [[name, arguments]]}, or {name, error} where the client raised or took longer than SECONDS.

import { readFileSync } from 'node:fs';

const apiKey = 'none';
const input = 'Where does Oslo lie?';
// Standard output is ours, and what is wrong is in the outcome: the libraries need not log it.
console.log = console.info = console.warn = console.error = () => {};

async function openai({ baseURL }) {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const stream = client.responses.stream({ model: 'm', input });
  let text = '';
  stream.on('response.output_text.delta', ({ delta }) => (text += delta));
  const response = await stream.finalResponse();
  if (response.status === 'failed') throw new Error(response.error.message);
  return {
    text,
    answer: response.output_text,
    calls: response.output
      .filter(({ type }) => type === 'function_call')
      .map((call) => [call.name, call.arguments]),
  };
}

async function ai(model) {
  const { streamText, tool, jsonSchema } = await import('ai');
  const inputSchema = jsonSchema({ type: 'object', properties: { city: { type: 'string' } } });
  const result = streamText({
    model,
    prompt: input,
    maxRetries: 0,
    tools: { get_weather: tool({ inputSchema }) },
  });
  let text = '';
  for await (const part of result.fullStream) {
    if (part.type === 'text-delta') text += part.text;
    if (part.type === 'error') throw part.error;
  }
  if ((await result.finishReason) === 'error') throw new Error('failed');
  return {
    text,
    answer: await result.text,
    calls: (await result.toolCalls).map((call) => [call.toolName, JSON.stringify(call.input)]),
  };
}

async function ai_openai({ baseURL }) {
  const { createOpenAI } = await import('@ai-sdk/openai');
  return ai(createOpenAI({ baseURL, apiKey }).responses('m'));
}

async function ai_open_responses({ baseURL }) {
  const { createOpenResponses } = await import('@ai-sdk/open-responses');
  return ai(createOpenResponses({ name: 'upstream', url: `${baseURL}/responses`, apiKey })('m'));
}

// The words that an error says to the user; the AI SDK throws parts of the stream as they came too.
function told(error) {
  if (!(error instanceof Error)) return JSON.stringify(error) ?? String(error);
  const more = [error.responseBody, error.data && JSON.stringify(error.data), error.cause?.message];
  return [error.message, ...more].filter(Boolean).join(' ').slice(0, 1000);
}

const [client, seconds] = process.argv.slice(2);
const read = { openai, ai_openai, ai_open_responses }[client];
// A client that rejects a promise which nobody awaits must not end the others.
process.on('unhandledRejection', () => {});

for (const one of JSON.parse(readFileSync(0, 'utf8'))) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error('hung')), seconds * 1000).unref();
  });
  let held;
  try {
    held = await Promise.race([read(one), late]);
  } catch (error) {
    held = { error: told(error) };
  }
  process.stdout.write(`${JSON.stringify({ name: one.name, ...held })}\n`);
}
process.exit(0);
