// Heat maps: grey from the server, coloured here, opaque where the model looked most.

const HEAT_STOPS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

function heatColour(value) {
  const at = value * (HEAT_STOPS.length - 1);
  const low = Math.min(HEAT_STOPS.length - 2, Math.floor(at));
  return HEAT_STOPS[low].map((channel, i) => channel + (HEAT_STOPS[low + 1][i] - channel) * (at - low));
}

function colourHeat(picture) {
  const canvas = make("canvas");
  Object.assign(canvas, { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d");
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const value = pixels.data[i];
    pixels.data.set([...heatColour(value / 255), value], i);
  }
  context.putImageData(pixels, 0, 0);
  return canvas;
}

async function loadHeat(url, ticket) {
  const ask = () => fetch(url, { headers: { "X-Medvit-Ticket": ticket } });
  let response = await ask();
  while (response.status === 202) {
    await new Promise((go) => setTimeout(go, 400));
    response = await ask();
  }
  if (!response.ok) throw new Error(await failureOf(response));
  return colourHeat(await createImageBitmap(await response.blob()));
}
