"""Top-level domains: the names delegated in the root zone, as the IANA Root Zone Database lists them.

Country codes and the generic names that are usual in addresses stand for themselves.  The rest are words too (`target`,
`data`, `zip`), which code writes behind a dot: an address under one of them has to stand alone (`pii.email_addresses`).
Taken over in 2026 from the table of the package publicsuffix2; delegations later than 2019 are not all in it.
"""

from __future__ import annotations

COUNTRIES = frozenset(
    b"""
    ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bv bw by bz
    ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm
    fo fr ga gb gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is
    it je jm jo jp ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm
    mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr
    ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sj sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg
    th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw
    """.split()
)

USUAL = frozenset(
    b"""
    academy aero agency app asia associates band bayern berlin bio biz blog boston business bzh cafe camp
    capital care cat center chat city cloud club codes coffee cologne com community company computer consulting
    cool coop corsica dev digital edu education energy engineer engineering enterprises eus expert finance
    foundation frl fund gal games global gmbh gov guru hamburg health help host house info institute int
    international irish istanbul jobs kiwi koeln land law legal life london ltd management market media
    melbourne miami mil mobi moe money moscow museum net network ngo ninja nrw nyc one ong online org page paris
    partners photography post pro productions quebec ruhr saarland school science scot security services shop
    site social software solutions space store studio swiss sydney systems team tech technology tel tirol tokyo
    top travel university vegas ventures vip wales wien wiki win works world wtf xxx xyz zone
    """.split()
)

#: Delegated, and words or brands that code writes behind dots.
WORDS = frozenset(
    b"""
    aaa aarp abarth abb abbott abbvie abc able abogado abudhabi accenture accountant accountants aco actor adac
    ads adult aeg aetna afamilycompany afl africa agakhan aig aigo airbus airforce airtel akdn alfaromeo alibaba
    alipay allfinanz allstate ally alsace alstom amazon americanexpress americanfamily amex amfam amica
    amsterdam analytics android anquan anz aol apartments apple aquarelle arab aramco archi army arpa art arte
    asda athleta attorney auction audi audible audio auspost author auto autos avianca aws axa azure baby baidu
    banamex bananarepublic bank bar barcelona barclaycard barclays barefoot bargains baseball basketball bauhaus
    bbc bbt bbva bcg bcn beats beauty beer bentley best bestbuy bet bharti bible bid bike bing bingo black
    blackfriday blockbuster bloomberg blue bms bmw bnpparibas boats boehringer bofa bom bond boo book booking
    bosch bostik bot boutique box bradesco bridgestone broadway broker brother brussels budapest bugatti build
    builders buy buzz cab cal call calvinklein cam camera cancerresearch canon capetown capitalone car caravan
    cards career careers cars casa case caseih cash casino catering catholic cba cbn cbre cbs ceb ceo cern cfa
    cfd chanel channel charity chase cheap chintai christmas chrome church cipriani circle cisco citadel citi
    citic cityeats claims cleaning click clinic clinique clothing clubmed coach college comcast commbank compare
    comsec condos construction contact contractors cooking cookingchannel country coupon coupons courses cpa
    credit creditcard creditunion cricket crown crs cruise cruises csc cuisinella cymru cyou dabur dad dance
    data date dating datsun day dclk dds deal dealer deals degree delivery dell deloitte delta democrat dental
    dentist desi design dhl diamonds diet direct directory discount discover dish diy dnp docs doctor dog
    domains dot download drive dtv dubai duck dunlop dupont durban dvag dvr earth eat eco edeka email emerck
    epson equipment ericsson erni esq estate esurance etisalat eurovision events exchange exposed express
    extraspace fage fail fairwinds faith family fan fans farm farmers fashion fast fedex feedback ferrari
    ferrero fiat fidelity fido film final financial fire firestone firmdale fish fishing fit fitness flickr
    flights flir florist flowers fly foo food foodnetwork football ford forex forsale forum fox free fresenius
    frogans frontdoor frontier ftr fujitsu fujixerox fun furniture futbol fyi gallery gallo gallup game gap
    garden gay gbiz gdn gea gent genting george ggee gift gifts gives giving glade glass gle globo gmail gmo gmx
    godaddy gold goldpoint golf goo goodyear goog google gop got grainger graphics gratis green gripe grocery
    group guardian gucci guge guide guitars hair hangout haus hbo hdfc hdfcbank healthcare helsinki here hermes
    hgtv hiphop hisamitsu hitachi hiv hkt hockey holdings holiday homedepot homegoods homes homesense honda
    horse hospital hosting hot hoteles hotels hotmail how hsbc hughes hyatt hyundai ibm icbc ice icu ieee ifm
    ikano imamat imdb immo immobilien inc industries infiniti ing ink insurance insure intel intuit investments
    ipiranga ismaili ist itau itv iveco jaguar java jcb jcp jeep jetzt jewelry jio jll jmp jnj joburg jot joy
    jpmorgan jprs juegos juniper kaufen kddi kerryhotels kerrylogistics kerryproperties kfh kia kim kinder
    kindle kitchen komatsu kosher kpmg kpn krd kred kuokgroup kyoto lacaixa lamborghini lamer lancaster lancia
    landrover lanxess lasalle lat latino latrobe lawyer lds lease leclerc lefrak lego lexus lgbt liaison lidl
    lifeinsurance lifestyle lighting like lilly limited limo lincoln linde link lipsy live living lixil llc llp
    loan loans locker locus loft lol lotte lotto love lpl lplfinancial ltda lundbeck lupin luxe luxury macys
    madrid maif maison makeup man mango map marketing markets marriott marshalls maserati mattel mba mckinsey
    med meet meme memorial men menu merckmsd metlife microsoft mini mint mit mitsubishi mlb mls mma mobile moda
    moi mom monash monster mormon mortgage moto motorcycles mov movie movistar msd mtn mtr mutual nab nadex
    nagoya name nationwide natura navy nba nec netbank netflix neustar new newholland news next nextdirect nexus
    nfl nhk nico nike nikon nissan nissay nokia northwesternmutual norton now nowruz nowtv nra ntt obi observer
    off office okinawa olayan olayangroup oldnavy ollo omega onion onl onyourside ooo open oracle orange organic
    origins osaka otsuka ott ovh panasonic pars parts party passagens pay pccw pet pfizer pharmacy phd philips
    phone photo photos physio pics pictet pictures pid pin ping pink pioneer pizza place play playstation
    plumbing plus pnc pohl poker politie porn pramerica praxi press prime prod prof progressive promo properties
    property protection pru prudential pub pwc qpon quest qvc racing radio raid read realestate realtor realty
    recipes red redstone redumbrella rehab reise reisen reit reliance ren rent rentals repair report republican
    rest restaurant review reviews rexroth rich richardli ricoh rightathome ril rio rip rmit rocher rocks rodeo
    rogers room rsvp rugby run rwe ryukyu safe safety sakura sale salon samsclub samsung sandvik sandvikcoromant
    sanofi sap sarl sas save saxo sbi sbs sca scb schaeffler schmidt scholarships schule schwarz scjohnson scor
    search seat secure seek select sener ses seven sew sex sexy sfr shangrila sharp shaw shell shia shiksha
    shoes shopping shouji show showtime shriram silk sina singles ski skin sky skype sling smart smile sncf
    soccer softbank sohu solar song sony soy spa sport spot spreadbetting srl stada staples star statebank
    statefarm stc stcgroup stockholm storage stream study style sucks supplies supply support surf surgery
    suzuki swatch swiftcover symantec tab taipei talk taobao target tatamotors tatar tattoo tax taxi tci tdk
    telefonica temasek tennis teva thd theater theatre tiaa tickets tienda tiffany tips tires tjmaxx tjx tkmaxx
    tmall today tools toray toshiba total tours town toyota toys trade trading training travelchannel travelers
    travelersinsurance trust trv tube tui tunes tushu tvs ubank ubs unicom uno uol ups vacations vana vanguard
    verisign versicherung vet viajes video vig viking villas vin virgin visa vision vistaprint viva vivo
    vlaanderen vodka volkswagen volvo vote voting voto voyage vuelos walmart walter wang wanggou watch watches
    weather weatherchannel webcam weber website wed wedding weibo weir whoswho williamhill windows wine winners
    wme wolterskluwer woodside work wow wtc xbox xerox xfinity xihuan xin yachts yahoo yamaxun yandex yodobashi
    yoga yokohama you youtube yun zappos zara zero zip zuerich
    """.split()
)

# What stands behind `xn--`, RFC 3492.
_INTERNATIONAL = b"""
    11b4c3d 1ck2e1b 1qqw23a 2scrj9c 30rr7y 3bst00m 3ds443g 3e0b707e 3hcrj9c 3oq18vl8pn36a 3pxu8k 42c2d9a
    45br5cyl 45brj9c 45q11c 4gbrim 54b7fta0cc 55qw42g 55qx5d 5su34j936bgsg 5tzm5g 6frz82g 6qq986b3xl 80adxhks
    80ao21a 80aqecdr1a 80asehdb 80aswg 8y0a063a 90a3ac 90ae 90ais 9dbq2a 9et52u 9krt00a b4w605ferd bck1b9a5dre4c
    c1avg c2br7g cck2b3b cckwcxetd cg4bki clchc0ea0b2g2a9gcd czr694b czrs0t czru2d d1acj3b d1alf e1a4c eckvdtc9d
    efvy88h estv75g fct429k fhbei fiq228c5hs fiq64b fiqs8s fiqz9s fjq720a flw351e fpcrj9c3d fzc2c9e2c
    fzys8d69uvgm g2xx48c gckr3f0f gecrj9c gk3at1e h2breg3eve h2brj9c h2brj9c8c hxt814e i1b6b1a6a2e imr513n
    io0a7i j1aef j1amh j6w193g jlq480n2rg jlq61u9w7b jvr189m kcrx77d1x4a kprw13d kpry57d kpu716f kput3i l1acc
    lgbbat1ad8j mgb2ddes mgb9awbf mgba3a3ejt mgba3a4f16a mgba3a4fra mgba7c0bbn0a mgbaakc7dvf mgbaam7a8h mgbab2bd
    mgbah1a3hjkrd mgbai9a5eva00b mgbai9azgqp6j mgbayh7gpa mgbbh1a mgbbh1a71e mgbc0a9azcg mgbca7dzdo
    mgberp4a5d4a87g mgberp4a5d4ar mgbgu82a mgbi4ecexp mgbpl2fh mgbqly7c0a67fbc mgbqly7cvafr mgbt3dhd mgbtf8fl
    mgbtx2b mgbx4cd0ab mix082f mix891f mk1bu44c mxtq1m ngbc5azd ngbe9e0a ngbrx nnx388a node nqv7f nqv7fs00ema
    nyqy26a o3cw4h ogbpf8fl otu796d p1acf p1ai pbt977c pgbs0dh pssy2u q9jyb4c qcka1pmc qxam rhqv96g rovu88b
    rvc1e0am3e s9brj9c ses554g t60b56a tckwe tiq49xqyj unup4y vermgensberater-ctb vermgensberatung-pwb vhquv
    vuq861b w4r85el8fhu5dnra w4rs40l wgbh1c wgbl6a xhq521b xkc2al3hye2a xkc2dl3a5ee0h y9a3aq yfro4i67o ygbi2ammx
    zfr164b
"""

#: Internationalised names, in both forms.
INTERNATIONAL = frozenset(
    form for name in _INTERNATIONAL.split() for form in (b"xn--" + name, name.decode("punycode").encode())
)
