// Runs one built function in this process and answers invocations that come by message.
const [, , name] = process.argv;
const { handler } = await import(new URL(`../../dist/${name}.mjs`, import.meta.url).href);

process.on("message", async ({ number, event, milliseconds }) => {
  const endsAt = performance.now() + milliseconds;
  const context = {
    awsRequestId: `request-${number}`,
    functionName: name,
    getRemainingTimeInMillis: () => Math.max(0, endsAt - performance.now()),
  };
  try {
    process.send({ number, result: await handler(event, context) });
  } catch (error) {
    process.send({ number, error: String(error?.stack ?? error) });
  }
});
