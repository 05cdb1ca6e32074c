/** Blob store on Google Cloud Storage. */
export {};
