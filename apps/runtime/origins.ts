/** The origins of pages that may call /v1: each exactly as browsers send it. */
import { z } from 'zod';

const ORIGIN = /^https?:\/\/[^\s,@*]+$/i;

export const origins = z
  .string()
  .superRefine((text, context) => {
    const message = text.split(',').map(complaintAbout).find(Boolean);
    if (message) context.addIssue({ code: 'custom', message });
  })
  .transform((text): readonly string[] => text.split(','));

function complaintAbout(text: string): string | undefined {
  if (text === '*') {
    return 'must name each origin: with * any page could buy in the name of its visitor';
  }
  if (text === 'null') {
    return 'must name each origin: null is any page in a sandbox or a file';
  }
  if (!ORIGIN.test(text) || !URL.canParse(text)) {
    return 'must be origins with commas, such as https://shop.example';
  }
  const { origin } = new URL(text);
  return text === origin ? undefined : `must name ${origin} as browsers do, not ${text}`;
}
