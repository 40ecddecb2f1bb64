/** What is wrong with one value of the configuration, for the person who wrote it. Never holds the value of a secret. */
export class Complaint extends Error {
  /**
   * @param what continues "provider.issuer …"
   * @param why what would happen
   * @param remedy what to write instead
   */
  constructor(what: string, why: string, remedy: string) {
    super([what, why, remedy].map(sentence => sentence.replace(/\.?$/, '.')).join(' '))
    this.name = 'Complaint'
  }
}
