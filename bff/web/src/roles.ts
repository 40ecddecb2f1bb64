const texts: Readonly<Record<string, string>> = {
  customer: 'Customer',
  'loan-officer': 'Loan officer',
  'banking-admin': 'Administrator',
  'risk-analyst': 'Risk analyst',
  'compliance-officer': 'Compliance officer',
}

/** A role as people call it. */
export const roleText = (role: string): string => texts[role] ?? role
