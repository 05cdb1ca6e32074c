/** Blob store on Amazon S3 and compatible services. */
export {};
