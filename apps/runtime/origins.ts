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
    return 'must name each origin: with * any page could make purchases for its visitors';
  }
  if (text === 'null') {
    return 'must name each origin: null is the origin of every sandboxed page and local file';
  }
  if (!ORIGIN.test(text) || !URL.canParse(text)) {
    return 'must be origins separated by commas, such as https://shop.example';
  }
  const { origin } = new URL(text);
  return text === origin ? undefined : `must name ${origin}, as browsers send it, not ${text}`;
}
