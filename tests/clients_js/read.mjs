// Reads streams with a client library and prints, for each, what its user would hold.
//
//   node read.mjs CLIENT < requests.json
//
// Standard input is a list of {name, baseURL, request}; a line of JSON leaves for each:
// {name, text, reasoning, finish, calls: [[id, name, arguments]], usage: [input, output]}, or
// {name, error} where the client raised.

import { readFileSync } from 'node:fs';

const apiKey = 'none';
// Standard output is ours: what the libraries log belongs elsewhere.
console.log = console.info = console.warn = console.error;

// The loop of openai-node's README, and what everybody adds to it.
async function openai({ baseURL, request }) {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const held = { text: '', reasoning: '', finish: null, calls: [], usage: null };
  for await (const chunk of await client.chat.completions.create(request)) {
    const choice = chunk.choices[0];
    held.text += choice?.delta?.content ?? '';
    held.reasoning += choice?.delta?.reasoning_content ?? '';
    for (const { index, id, function: { name, arguments: more } } of choice?.delta?.tool_calls ?? []) {
      held.calls[index] ??= [id, name, ''];
      held.calls[index][2] += more ?? '';
    }
    held.finish = choice?.finish_reason ?? held.finish;
    if (chunk.usage) held.usage = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
  }
  return held;
}

// Its own accumulation.
async function openai_helper({ baseURL, request }) {
  const { default: OpenAI } = await import('openai');
  const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const runner = client.chat.completions.stream(request);
  const { choices: [{ message, finish_reason: finish }], usage } = await runner.finalChatCompletion();
  return {
    text: message.content ?? '',
    reasoning: message.reasoning_content ?? '',
    finish,
    calls: (message.tool_calls ?? []).map((call) => [
      call.id, call.function.name, call.function.arguments,
    ]),
    usage: usage ? [usage.prompt_tokens, usage.completion_tokens] : null,
  };
}

async function langchain({ baseURL, request }) {
  const { ChatOpenAI } = await import('@langchain/openai');
  const { model, messages, tools, stream_options } = request;
  const chat = new ChatOpenAI({
    model, apiKey, maxRetries: 0, streamUsage: stream_options !== undefined,
    configuration: { baseURL },
  });
  const bound = tools ? chat.bindTools(tools) : chat;
  let whole;
  for await (const chunk of await bound.stream(messages.map(({ role, content }) => [role, content]))) {
    whole = whole ? whole.concat(chunk) : chunk;
  }
  if (whole === undefined) return { text: '', reasoning: '', finish: null, calls: [], usage: null };
  const usage = whole.usage_metadata;
  return {
    text: whole.text,
    reasoning: whole.additional_kwargs.reasoning_content ?? '',
    finish: whole.response_metadata.finish_reason ?? null,
    calls: whole.tool_calls.map(({ id, name, args }) => [id, name, JSON.stringify(args)]),
    usage: usage ? [usage.input_tokens, usage.output_tokens] : null,
  };
}

async function ai_sdk({ baseURL, request }) {
  const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
  const { jsonSchema, streamText, tool } = await import('ai');
  const provider = createOpenAICompatible({
    name: 'upstream', baseURL, includeUsage: request.stream_options !== undefined,
  });
  const tools = Object.fromEntries((request.tools ?? []).map(({ function: f }) => [
    f.name, tool({ description: f.description ?? '', inputSchema: jsonSchema(f.parameters) }),
  ]));
  const held = { text: '', reasoning: '', finish: null, calls: [], usage: null };
  const { fullStream } = streamText({
    model: provider(request.model), messages: request.messages, tools, maxRetries: 0,
    onError: () => {},
  });
  for await (const part of fullStream) {
    if (part.type === 'error') {
      throw part.error instanceof Error ? part.error : new Error(part.error.message ?? part.error);
    }
    if (part.type === 'text-delta') held.text += part.text;
    if (part.type === 'reasoning-delta') held.reasoning += part.text;
    if (part.type === 'tool-call') {
      held.calls.push([part.toolCallId, part.toolName, JSON.stringify(part.input)]);
    }
    if (part.type === 'finish') {
      held.finish = part.finishReason;
      const { inputTokens, outputTokens } = part.totalUsage;
      if (inputTokens !== undefined) held.usage = [inputTokens, outputTokens];
    }
  }
  return held;
}

const read = { openai, openai_helper, langchain, ai_sdk }[process.argv[2]];
for (const asked of JSON.parse(readFileSync(0, 'utf8'))) {
  let held;
  try {
    held = await read(asked);
  } catch (error) {
    held = { error: `${error.constructor.name}: ${error.message}` };
  }
  process.stdout.write(`${JSON.stringify({ name: asked.name, ...held })}\n`);
}
