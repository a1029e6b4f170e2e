// Fetches small pictures for the map: asks the server for some, and hands over what comes.
export default function ({ data, setTriggerValue }) {
  const shared = (globalThis.sampleMaps ??= new EventTarget());
  shared.askPictures = samples => setTriggerValue("wanted", samples);
  shared.pictures = data;
  shared.dispatchEvent(new Event("pictures"));
}
