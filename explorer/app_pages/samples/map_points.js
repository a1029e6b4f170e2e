// Takes the samples' places, which are sent once, and hands them to the map.
export default function ({ data, key }) {
  const shared = (globalThis.sampleMaps ??= new EventTarget());
  shared.points = data;
  shared.dispatchEvent(new Event("points"));
}
