// Finds out whether an account has a hierarchical namespace. azure-container.ts asks before it lists.
import type { ContainerListBlobFlatSegmentResponse } from '@azure/storage-blob';
import { hasCode } from '../../native-bindings/errors.js';
import type { ListingPort } from './flat-listing.js';

/**
 * Asks Get Account Information. A credential that may not (a SAS of the container, some roles) is told so by 401, 403 or
 * 400: then one listed blob shows it, since only such accounts list a `ResourceType`. Answers undefined when that does
 * not tell either. Rejects with LhsmError when nobody answers.
 * https://learn.microsoft.com/rest/api/storageservices/get-account-information
 */
export async function hasHierarchy(port: ListingPort, signal: AbortSignal): Promise<boolean | undefined> {
  try {
    return await port.request('Get Account Information', 'the account', signal, async () => {
      const answer = await port.client().getAccountInfo({ abortSignal: signal });
      return answer.isHierarchicalNamespaceEnabled ?? false;
    });
  } catch (error) {
    if (!hasCode(error, 'FORBIDDEN') && !hasCode(error, 'REFUSED')) throw error;
  }
  return port.request('List Blobs', 'the listing', signal, async () => {
    const pages = port.client().listBlobsFlat({ abortSignal: signal }).byPage({ maxPageSize: 1 });
    const { segment } = (await pages.next()).value as ContainerListBlobFlatSegmentResponse;
    const [first] = segment.blobItems;
    // The SDK passes on what its model does not know.
    return first !== undefined && 'ResourceType' in first.properties ? true : undefined;
  });
}
